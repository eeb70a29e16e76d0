// @vitest-environment jsdom
import { act, cleanup, render } from '@testing-library/react';
import { StrictMode, useState, type ReactElement } from 'react';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { RealtimeProvider, useChannel, useConnectionStatus } from '../../src/react/index.js';
import type { RealtimeEvent } from '../../src/types.js';
import { FakeClient } from './fake-client.js';

let client: FakeClient;
beforeEach(() => {
  client = new FakeClient();
});
afterEach(cleanup);

function Listener({ channel = 'job.7', seen }: { channel?: string; seen: (event: RealtimeEvent) => void }): ReactElement {
  const [ids, setIds] = useState<readonly string[]>([]);
  const { phase, position, error } = useChannel(channel, (event) => {
    seen(event);
    setIds((ids) => [...ids, event.id]);
  });
  return <p>{`${phase} ${position?.offset ?? '-'} ${error ?? 'fine'} ${ids.join()}`}</p>;
}

function show(element: ReactElement, { strict = true } = {}): ReturnType<typeof render> {
  const page = <RealtimeProvider client={client}>{element}</RealtimeProvider>;
  return render(strict ? <StrictMode>{page}</StrictMode> : page);
}

test('each event is one call in StrictMode and in a batch', () => {
  const seen = vi.fn();
  const { container } = show(<Listener seen={seen} />);
  act(() => {
    for (const name of ['a', 'b', 'c']) client.emit('job.7', name);
  });
  expect(seen.mock.calls.map(([event]) => (event as RealtimeEvent).event)).toEqual(['a', 'b', 'c']);
  expect(container.textContent).toBe('current 3 fine e1,e2,e3');
});

test('StrictMode leaves one subscription', () => {
  const { unmount } = show(<Listener seen={() => {}} />);
  expect(client.live).toHaveLength(1);
  unmount();
  expect(client.live).toHaveLength(0);
});

test('latest handler is called without a new subscription', () => {
  const [first, second] = [vi.fn(), vi.fn()];
  const { rerender } = render(<RealtimeProvider client={client}><Listener seen={first} /></RealtimeProvider>);
  client.emit('other', 'not ours');
  act(() => void client.emit('job.7', 'a'));
  rerender(<RealtimeProvider client={client}><Listener seen={second} /></RealtimeProvider>);
  act(() => void client.emit('job.7', 'b'));
  expect(client.subscriptions).toHaveLength(1);
  expect([first.mock.calls.length, second.mock.calls.length]).toEqual([1, 1]);
});

test('another channel starts at its current end', () => {
  const { rerender } = render(<RealtimeProvider client={client}><Listener seen={() => {}} /></RealtimeProvider>);
  act(() => void client.emit('job.7', 'a'));
  rerender(<RealtimeProvider client={client}><Listener channel="job.8" seen={() => {}} /></RealtimeProvider>);
  expect(client.subscriptions.map(({ channel, ended }) => [channel, ended])).toEqual([['job.7', true], ['job.8', false]]);
  expect(client.subscriptions[1]!.handlers).not.toHaveProperty('position');
});

test('resubscription resumes after the last event', () => {
  const other = new FakeClient();
  const { rerender } = render(<RealtimeProvider client={client}><Listener seen={() => {}} /></RealtimeProvider>);
  act(() => void client.emit('job.7', 'a'));
  rerender(<RealtimeProvider client={other}><Listener seen={() => {}} /></RealtimeProvider>);
  expect(other.live[0]!.position).toEqual({ epoch: 'k3v9q2wz', offset: 1, id: 'e1' });
});

test('resets and denials reach the component', () => {
  const onReset = vi.fn();
  function Page(): ReactElement {
    const { error } = useChannel('job.7', undefined, { onReset });
    return <p>{error}</p>;
  }
  const { container } = show(<Page />);
  act(() => {
    client.reset('job.7');
    client.channel('job.7').merge({ error: 'forbidden' });
  });
  expect(onReset).toHaveBeenCalledOnce();
  expect(container.textContent).toBe('forbidden');
});

test('snapshot is requested only with onSnapshot', () => {
  const onSnapshot = vi.fn();
  function Page(): ReactElement {
    useChannel('job.7', () => {}, { onSnapshot, keepInBackground: true });
    return <Listener seen={() => {}} />;
  }
  show(<Page />, { strict: false });
  expect(client.live.filter((handlers) => handlers.onSnapshot)).toHaveLength(1);
  act(() => client.snapshot('job.7'));
  expect(onSnapshot).toHaveBeenCalledOnce();
});

test('provider starts an idle client and does not stop it', () => {
  const { unmount } = show(<Listener seen={() => {}} />);
  unmount();
  expect(client.calls).toEqual(['start']);
});

test('connection status is updated', () => {
  function Page(): ReactElement {
    return <p>{useConnectionStatus().kind}</p>;
  }
  const { container } = show(<Page />);
  act(() => client.goLive());
  expect(container.textContent).toBe('realtime');
});

test.each([null, undefined, ''])('channel %j subscribes to nothing yet', (channel) => {
  const seen = vi.fn();
  function Page({ name }: { name: string | null | undefined }): ReactElement {
    const { phase } = useChannel(name, seen);
    return <p>{phase}</p>;
  }
  const page = (name: string | null | undefined) => <RealtimeProvider client={client}><Page name={name} /></RealtimeProvider>;
  const { container, rerender } = render(page(channel));
  expect(client.subscriptions).toEqual([]);
  expect(container.textContent).toBe('syncing');
  rerender(page('job.7'));
  act(() => void client.emit('job.7', 'a'));
  expect(seen).toHaveBeenCalledOnce();
  rerender(page(channel));
  expect(client.live).toEqual([]);
});

test('denial calls onError', () => {
  const onError = vi.fn();
  function Page(): ReactElement {
    useChannel('job.7', undefined, { onError });
    return <p />;
  }
  show(<Page />, { strict: false });
  act(() => void client.live[0]!.onError?.({ channel: 'job.7', message: 'no' }));
  expect(onError).toHaveBeenCalledWith({ channel: 'job.7', message: 'no' });
});
