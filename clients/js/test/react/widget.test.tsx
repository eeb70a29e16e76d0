// @vitest-environment jsdom
import { act, cleanup, fireEvent, render, screen, within } from '@testing-library/react';
import { StrictMode } from 'react';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { ProcessingWidget, RealtimeProvider, type ProcessingWidgetProps } from '../../src/react/index.js';
import { FakeClient } from './fake-client.js';

const CHANNEL = 'user-42';
let client: FakeClient;
beforeEach(() => {
  client = new FakeClient();
});
afterEach(() => {
  cleanup();
  vi.useRealTimers();
});

function show(props: Partial<ProcessingWidgetProps> = {}): ReturnType<typeof render> {
  return render(
    <StrictMode>
      <RealtimeProvider client={client}>
        <ProcessingWidget userId={42} debug={false} badge={false} {...props} />
      </RealtimeProvider>
    </StrictMode>,
  );
}

function emit(event: string, data: object = {}, job = 'a1'): void {
  act(() => void client.emit(CHANNEL, event, { job, title: `${job}.mp3`, ...data }, { key: `job-${job}` }));
}

function rows(): (string | null)[] {
  return [...document.querySelectorAll('.rb-job')].map((row) => `${row.getAttribute('data-job')} ${row.getAttribute('data-state')}`);
}

describe('list of jobs', () => {
  test('loading is followed by the empty text', () => {
    show();
    expect(screen.getByText('Loading jobs …')).toBeTruthy();
    act(() => client.snapshot(CHANNEL));
    expect(screen.getByText('No jobs yet')).toBeTruthy();
  });

  test('running job updates in place', () => {
    show();
    emit('job.queued');
    expect(screen.getByText('Waiting for a worker')).toBeTruthy();
    emit('job.progress', { percent: 41.7, stage: 'Aligning', bytes_done: 3_200_000, bytes_total: 8_100_000, eta: 130 });
    const bar = screen.getByRole('progressbar', { name: 'a1.mp3' });
    expect(bar.getAttribute('aria-valuenow')).toBe('41');
    expect(bar.getAttribute('aria-valuetext')).toBe('Running · 41 % · Aligning');
    expect(bar.querySelector('rect')!.getAttribute('width')).toBe('41.7');
    expect(document.querySelector('.rb-job-facts')!.textContent).toBe('Aligningabout 2 min left · 3.2 MB of 8.1 MB · 41 %');
    emit('job.completed');
    expect(screen.getByRole('progressbar').getAttribute('aria-valuenow')).toBe('100');
    emit('job.progress', { percent: 50 });
    expect(rows()).toEqual(['a1 completed']);
  });

  test('unknown progress has no value', () => {
    show();
    emit('job.started');
    expect(screen.getByRole('progressbar').hasAttribute('aria-valuenow')).toBe(false);
  });

  test('error and next attempt are shown', () => {
    show();
    emit('job.retrying', { error: 'The disk is full', retry_at: '2025-11-22T18:40:10Z' });
    expect(screen.getByText('The disk is full')).toBeTruthy();
    expect(document.querySelector('time')!.getAttribute('datetime')).toBe('2025-11-22T18:40:10.000Z');
  });

  test('snapshot is shown first', () => {
    show();
    const events = [client.event(CHANNEL, 'job.completed', { job: 'a1' }), client.event(CHANNEL, 'job.progress', { job: 'a2', percent: 5 })];
    act(() => client.snapshot(CHANNEL, events));
    expect(rows()).toEqual(['a2 running', 'a1 completed']);
    expect(screen.getByText('1 running')).toBeTruthy();
  });

  test('button shows all jobs', () => {
    show({ limit: 2 });
    for (const job of ['a1', 'a2', 'a3']) emit('job.started', {}, job);
    expect(rows()).toHaveLength(2);
    fireEvent.click(screen.getByRole('button', { name: 'Show all 3' }));
    expect(rows()).toHaveLength(3);
  });

  test('burst in one batch loses no event', () => {
    show({ limit: 200 });
    act(() => {
      for (let job = 0; job < 100; job += 1) client.emit(CHANNEL, 'job.completed', { job });
    });
    expect(rows()).toHaveLength(100);
  });

  test('another user starts with an empty list', () => {
    const { rerender } = show();
    emit('job.started');
    rerender(<StrictMode><RealtimeProvider client={client}><ProcessingWidget userId={43} /></RealtimeProvider></StrictMode>);
    expect(rows()).toEqual([]);
    expect(client.live.length).toBe(1);
  });
});

describe('notifications', () => {
  const notices = (): HTMLElement[] => [...document.querySelectorAll<HTMLElement>('.rb-notice')];

  test('completed job leads to one polite notice', () => {
    show();
    emit('job.started');
    emit('job.completed');
    const region = screen.getByRole('status');
    expect(region.getAttribute('aria-live')).toBe('polite');
    expect(within(region).getAllByText('a1.mp3')).toHaveLength(1);
    expect(region.textContent).toBe('a1.mp3 is complete.');
    expect(document.activeElement).toBe(document.body);
  });

  test('failure shows its error until dismissed', () => {
    show();
    emit('job.failed', { error: 'The disk is full' });
    emit('job.failed', {}, 'a2');
    expect(notices()[0]!.textContent).toBe('a1.mp3 failed. The disk is full');
    fireEvent.click(screen.getByRole('button', { name: 'Dismiss: a1.mp3 failed' }));
    expect(notices()).toHaveLength(1);
    fireEvent.keyDown(screen.getByRole('button', { name: 'Dismiss: a2.mp3 failed' }), { key: 'Escape' });
    expect(notices()).toHaveLength(0);
  });

  test('focus moves to the next notice', () => {
    show();
    emit('job.failed');
    emit('job.failed', {}, 'a2');
    const [first, second] = screen.getAllByRole('button');
    first!.focus();
    fireEvent.click(first!);
    expect(document.activeElement).toBe(second);
  });

  test('success notice closes by itself, failure stays', () => {
    vi.useFakeTimers();
    show();
    emit('job.completed');
    emit('job.failed', {}, 'a2');
    act(() => void vi.advanceTimersByTime(5_000));
    emit('job.progress', { percent: 3 }, 'a3');
    act(() => void vi.advanceTimersByTime(3_100));
    expect(notices().map((notice) => notice.dataset['state'])).toEqual(['failed']);
  });

  test('notice stays while it has pointer or focus', () => {
    vi.useFakeTimers();
    show();
    emit('job.completed');
    fireEvent.pointerEnter(notices()[0]!);
    act(() => void vi.advanceTimersByTime(60_000));
    expect(notices()).toHaveLength(1);
    fireEvent.pointerLeave(notices()[0]!);
    act(() => void vi.advanceTimersByTime(8_100));
    expect(notices()).toHaveLength(0);
  });

  test('job that ended during a gap leads to a notice', () => {
    show();
    const done = (job: string) => client.event(CHANNEL, 'job.completed', { job });
    act(() => client.snapshot(CHANNEL, [done('a1')]));
    expect(notices()).toHaveLength(0);
    emit('job.started', {}, 'a2');
    act(() => client.reset(CHANNEL));
    act(() => client.snapshot(CHANNEL, [done('a1'), done('a2')]));
    expect(notices()).toHaveLength(1);
  });

  test('cancelled job leads to no notice', () => {
    show();
    emit('job.cancelled');
    expect(notices()).toHaveLength(0);
  });
});

describe('outdated data', () => {
  test('offline widget shows the time of its data', () => {
    show();
    act(() => client.show({ kind: 'offline', label: 'Offline', lastSync: Date.now() }));
    expect(document.querySelector('.rb-outdated')!.textContent).toMatch(/^As of .+\. What came after is not shown yet\.$/);
    act(() => client.goLive());
    expect(document.querySelector('.rb-outdated')).toBeNull();
  });

  test('denied channel does not show an empty list', () => {
    show();
    act(() => client.channel(CHANNEL).merge({ error: 'forbidden' }));
    expect(screen.getByText('These jobs cannot be shown: forbidden')).toBeTruthy();
    expect(screen.queryByText('No jobs yet')).toBeNull();
  });
});

describe('debug panel', () => {
  test('panel is absent in production', () => {
    vi.stubEnv('NODE_ENV', 'production');
    render(<RealtimeProvider client={client}><ProcessingWidget userId={42} /></RealtimeProvider>);
    expect(document.querySelector('.rb-debug')).toBeNull();
    cleanup();
    vi.stubEnv('NODE_ENV', 'development');
    render(<RealtimeProvider client={client}><ProcessingWidget userId={42} /></RealtimeProvider>);
    expect(document.querySelector('.rb-debug')).not.toBeNull();
    vi.unstubAllEnvs();
  });

  test('panel shows the details of the connection', () => {
    show({ debug: true });
    act(() => {
      client.goLive();
      client.show({ user: '42', client: 'c_8f', lastSync: Date.now(), transitions: [{ at: 1, from: 'PROBING', to: 'LIVE', reason: null }] });
    });
    const text = document.querySelector('.rb-debug')!.textContent;
    for (const part of ['Sourcewebsocket', 'Statusconnected (websocket)', 'Healthrealtime', 'User42', 'Sessionc_8f', 'Last sync', 'PROBING → LIVE']) {
      expect(text).toContain(part);
    }
  });
});

describe('payloads of any form', () => {
  const ODD = [1e300, -1e300, 8.64e15 + 1, NaN, Infinity, -Infinity, 'tomorrow', '1e300', '', null, true, [], {}, 2 ** 53];

  test.each(ODD)('fields with %j crash nothing', (value) => {
    show();
    const names = 'percent progress stage message error title retry_at retry_in countdown bytes_done bytes_total eta created_at version';
    for (const name of names.split(' ')) {
      emit('job.retrying', { [name]: value });
      emit('job.progress', { [name]: value });
    }
    emit('job.completed');
    expect(rows()).toEqual(['a1 completed']);
    expect(document.body.textContent).not.toMatch(/Invalid Date|NaN|\[object/);
  });

  test.each([1e300, NaN, -1e17, 'now'])('time %j of an event crashes nothing', (time) => {
    show();
    act(() => void client.emit(CHANNEL, 'job.completed', { job: 'a1' }, { time: time as number }));
    expect(rows()).toEqual(['a1 completed']);
    expect(document.body.textContent).not.toContain('Invalid Date');
  });
});

describe('texts', () => {
  test('a page replaces them, and chooses the level of the heading', () => {
    show({ headingLevel: 4, texts: { title: 'Aufgaben', loading: 'Lädt …', states: { ...GERMAN } } });
    expect(screen.getByRole('heading', { level: 4, name: 'Aufgaben' })).toBeTruthy();
    expect(screen.getByText('Lädt …')).toBeTruthy();
    emit('job.progress', { percent: 1 });
    expect(screen.getByText('Läuft')).toBeTruthy();
    expect(document.querySelector('.rb-summary')!.textContent).toBe('1 läuft');
  });

  test.each(['offline', 'error', 'paused'] as const)('a user whose connection is %s does not wait for jobs', (kind) => {
    show();
    act(() => client.state.merge({ kind }));
    expect(screen.queryByText('Loading jobs …')).toBeNull();
    expect(screen.getByText('Jobs cannot be shown without a connection.')).toBeTruthy();
  });

  test('a user who is not known yet subscribes to nothing', () => {
    show({ userId: null });
    expect(client.subscriptions).toEqual([]);
  });
});

const GERMAN = {
  queued: 'Wartet', running: 'Läuft', asking: 'Fragt', lost: 'Verloren', retrying: 'Wiederholt', completed: 'Fertig', failed: 'Fehler', cancelled: 'Abgebrochen',
};
