// @vitest-environment jsdom
import { act, cleanup, renderHook } from '@testing-library/react';
import { StrictMode, type ReactNode } from 'react';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { RealtimeProvider, useHybridUpdates } from '../../src/react/index.js';
import type { RealtimeEvent } from '../../src/types.js';
import { FakeClient } from './fake-client.js';

let client: FakeClient;
beforeEach(() => {
  vi.useFakeTimers();
  client = new FakeClient();
});
afterEach(() => {
  cleanup();
  vi.useRealTimers();
});

function wrapper({ children }: { children: ReactNode }): ReactNode {
  return <StrictMode><RealtimeProvider client={client}>{children}</RealtimeProvider></StrictMode>;
}

const soon = (milliseconds = 0): Promise<void> => act(async () => void (await vi.advanceTimersByTimeAsync(milliseconds)));

async function connected(channel = 'user-42'): Promise<void> {
  act(() => {
    client.goLive();
    client.channel(channel).merge({ phase: 'current', position: { epoch: 'k3v9q2wz', offset: 0 } });
  });
  await soon();
}

test('loading is followed by the data and its source', async () => {
  const fetchData = vi.fn(async () => ['a']);
  const { result } = renderHook(() => useHybridUpdates(fetchData, 42), { wrapper });
  expect(result.current).toMatchObject({ data: null, loading: true, updateSource: 'polling' });
  await connected();
  expect(result.current).toMatchObject({ data: ['a'], loading: false, updateSource: 'websocket', websocketStatus: 'connected' });
  expect(fetchData).toHaveBeenCalledTimes(1);
});

test('burst leads to one `fetchData` and one `onEvent` per event', async () => {
  const [fetchData, onEvent] = [vi.fn(async () => ['a']), vi.fn()];
  renderHook(() => useHybridUpdates(fetchData, 42, { onEvent }), { wrapper });
  await connected();
  act(() => {
    for (const name of ['a', 'b', 'c']) client.emit('user-42', name);
  });
  await soon(300);
  expect(fetchData).toHaveBeenCalledTimes(2);
  expect(onEvent).toHaveBeenCalledTimes(3);
});

test('latest `reduce` gets every event of a batch', async () => {
  const { result, rerender } = renderHook(
    ({ mark }) => useHybridUpdates<string[]>(async () => [], 42, { reduce: (data, event: RealtimeEvent) => [...(data ?? []), event.event + mark] }),
    { wrapper, initialProps: { mark: '1' } },
  );
  await connected();
  act(() => {
    for (const name of ['a', 'b']) client.emit('user-42', name);
  });
  rerender({ mark: '2' });
  act(() => void client.emit('user-42', 'c'));
  expect(result.current.data).toEqual(['a1', 'b1', 'c2']);
  expect(client.live).toHaveLength(1);
});

test('snapshot is the first data without `fetchData`', async () => {
  const { result } = renderHook(() => useHybridUpdates<number>(null, 42, { onSnapshot: ({ events }) => events.length }), { wrapper });
  act(() => client.snapshot('user-42', [client.event('user-42', 'a', {})]));
  await soon();
  expect(result.current).toMatchObject({ data: 1, loading: false });
});

test('new functions keep the client, another user does not', async () => {
  const { rerender, unmount } = renderHook(({ user }) => useHybridUpdates(async () => ['a'], user, { pollingInterval: 2000, onEvent: () => {} }), {
    wrapper,
    initialProps: { user: 42 },
  });
  const subscribed = client.subscriptions.length;
  rerender({ user: 42 });
  expect(client.subscriptions).toHaveLength(subscribed);
  rerender({ user: 43 });
  expect(client.subscriptions.filter(({ ended }) => !ended).map(({ channel }) => channel)).toEqual(['user-43']);
  unmount();
  expect(client.live).toEqual([]);
});

test.each([{ websocketEnabled: false }, { enableFeatureFlag: false }])('%j polls `fetchData` only', async (options) => {
  const fetchData = vi.fn(async () => ['a']);
  const { result } = renderHook(() => useHybridUpdates(fetchData, 42, { ...options, pollingInterval: 1000 }), { wrapper });
  await soon(10);
  const calls = fetchData.mock.calls.length;
  await soon(5000);
  expect(fetchData.mock.calls.length - calls).toBeGreaterThanOrEqual(4);
  expect(client.subscriptions).toEqual([]);
  expect(result.current).toMatchObject({ data: ['a'], updateSource: 'polling', websocketStatus: 'disconnected' });
});

test('`refresh` fetches, resolves, and keeps its identity', async () => {
  let count = 0;
  const { result, rerender } = renderHook(() => useHybridUpdates(async () => (count += 1), 42), { wrapper });
  await connected();
  const { refresh } = result.current;
  await act(async () => {
    const done = refresh();
    await vi.advanceTimersByTimeAsync(0);
    await done;
  });
  expect(result.current.data).toBe(count);
  rerender();
  expect(result.current.refresh).toBe(refresh);
});

test('client option takes precedence over the provider', async () => {
  const own = new FakeClient();
  renderHook(() => useHybridUpdates(null, 42, { client: own }), { wrapper });
  expect(own.live).toHaveLength(1);
  expect(client.live).toHaveLength(0);
});

test.each([null, undefined, ''])('user %j loads nothing yet', async (userId) => {
  const fetchData = vi.fn(async () => ['a']);
  const { result, rerender } = renderHook(({ user }) => useHybridUpdates(fetchData, user), {
    wrapper,
    initialProps: { user: userId as string | null | undefined },
  });
  await soon(60_000);
  expect(fetchData).not.toHaveBeenCalled();
  expect(client.subscriptions).toEqual([]);
  expect(result.current).toMatchObject({ data: null, loading: true });
  rerender({ user: '42' });
  await connected();
  expect(result.current.data).toEqual(['a']);
});
