// @vitest-environment jsdom
import { act, cleanup, render } from '@testing-library/react';
import { Profiler, StrictMode, useState, type ReactElement } from 'react';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { RealtimeProvider, useStream } from '../../src/react/index.js';
import type { StreamResult } from '../../src/react/index.js';
import type { RealtimeEvent } from '../../src/types.js';
import { FakeClient } from './fake-client.js';

const CHANNEL = 'chat.1';

let client: FakeClient;
let result: StreamResult<string>;

beforeEach(() => {
  vi.useFakeTimers();
  client = new FakeClient();
});

afterEach(() => {
  cleanup();
  vi.useRealTimers();
});

interface PageProps {
  channel?: string | null;
  id?: string | null;
  keepInBackground?: boolean;
}

function Page({ channel = CHANNEL, id, ...options }: PageProps): ReactElement {
  result = useStream(channel, id, options);
  return <p>{`${result.state} ${result.text}`}</p>;
}

function page(element: ReactElement): ReactElement {
  return <StrictMode><RealtimeProvider client={client}>{element}</RealtimeProvider></StrictMode>;
}

function group(stream: string, ...items: string[]): RealtimeEvent[] {
  const of = { key: `stream-${stream}`, attempt: 'A' };
  return [
    client.event(CHANNEL, 'stream.started', { stream, format: 'text', meta: null }, of),
    client.event(CHANNEL, 'stream.part', items, { ...of, fold: 'append' }),
  ];
}

/** Show the group in each page that loads this stream, and everything until the next frame. */
function load(stream: string, ...items: string[]): void {
  act(() => {
    const snapshot = { channel: CHANNEL, events: group(stream, ...items), position: { epoch: 'k3v9q2wz', offset: 9 } };
    for (const handlers of client.live) {
      if (handlers.snapshotKey === `stream-${stream}`) void handlers.onSnapshot?.(snapshot);
    }
  });
  frame();
}

function frame(): void {
  act(() => void vi.advanceTimersByTime(20));
}

function append(stream: string, text: string): void {
  client.emit(CHANNEL, 'stream.part', [text], { key: `stream-${stream}`, fold: 'append', attempt: 'A' });
}

test('StrictMode leaves one subscription, and shows each item once', () => {
  const { container, unmount } = render(page(<Page id="m1" />));
  expect(container.textContent).toBe('unknown ');
  expect(client.live).toMatchObject([{ snapshotKey: 'stream-m1', keepInBackground: false }]);
  load('m1', 'one ');
  act(() => append('m1', 'two '));
  act(() => append('m1', 'three'));
  frame();
  expect(container.textContent).toBe('open one two three');
  unmount();
  expect(client.live).toEqual([]);
});

test('hundred parts in a frame are one render', () => {
  const onRender = vi.fn();
  const { container } = render(
    <RealtimeProvider client={client}><Profiler id="page" onRender={onRender}><Page id="m1" /></Profiler></RealtimeProvider>,
  );
  load('m1');
  onRender.mockClear();
  act(() => {
    for (let number = 0; number < 100; number += 1) append('m1', 'x');
  });
  frame();
  expect(onRender).toHaveBeenCalledOnce();
  expect(container.textContent).toBe(`open ${'x'.repeat(100)}`);
});

test('another id shows nothing of the former stream', () => {
  const { container, rerender } = render(page(<Page id="m1" />));
  load('m1', 'former');
  const texts: string[] = [];
  function Other(): ReactElement {
    texts.push(useStream(CHANNEL, 'm2').text);
    return <Page id="m2" />;
  }
  rerender(page(<Other />));
  expect(container.textContent).toBe('unknown ');
  load('m2', 'new');
  expect(container.textContent).toBe('open new');
  expect(texts.join()).not.toContain('former');
  expect(client.live.map(({ snapshotKey }) => snapshotKey)).toEqual(['stream-m2', 'stream-m2']);
});

test('keepInBackground keeps the client connected', () => {
  render(page(<Page id="m1" keepInBackground />));
  expect(client.live).toMatchObject([{ keepInBackground: true }]);
});

test.each([null, ''])('channel %j reads nothing yet', async (channel) => {
  const { container, rerender } = render(page(<Page channel={channel} id="m1" />));
  expect(client.subscriptions).toEqual([]);
  expect(container.textContent).toBe('unknown ');
  await result.stop();
  expect(client.calls).toEqual(['start']);
  rerender(page(<Page id="m1" />));
  load('m1', 'there');
  expect(container.textContent).toBe('open there');
});

test('without an id the newest stream is shown', () => {
  const { container } = render(page(<Page />));
  act(() => {
    for (const [event] of [group('m1'), group('m2')]) {
      for (const { onEvent } of client.live) void onEvent?.(event!);
    }
  });
  load('m2', 'newest');
  expect(container.textContent).toBe('open newest');
});

test('stop is the same function in each render, and stops the attempt that is shown', async () => {
  const stops = new Set<() => Promise<void>>();
  function Button(): ReactElement {
    const [count, setCount] = useState(0);
    const { stop } = useStream(CHANNEL, 'm1');
    stops.add(stop);
    return <button onClick={() => setCount(count + 1)}>{count}</button>;
  }
  const { getByRole } = render(<RealtimeProvider client={client}><Button /></RealtimeProvider>);
  load('m1', 'a');
  act(() => getByRole('button').click());
  expect(stops.size).toBe(1);
  for (const stop of stops) await stop();
  expect(client.calls).toContain('stop chat.1 m1 A');
});
