/** Core of `useHybridUpdates`: its fetches, and the effect of events on the data. */

import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { HybridUpdates } from '../src/index.js';
import type { FetchData, HybridUpdatesOptions } from '../src/index.js';
import { FakeBridge, FakeSocket, eventFrame, settle } from './support/bridge.js';

const ENDPOINT = 'http://bridge.test/realtime';

let bridge: FakeBridge;
let updates: HybridUpdates<number[]>;

beforeEach(() => {
  vi.useFakeTimers();
  vi.spyOn(Math, 'random').mockReturnValue(0.5);
  bridge = new FakeBridge().install();
});

afterEach(() => {
  updates.stop();
  vi.useRealTimers();
  vi.unstubAllGlobals();
  vi.restoreAllMocks();
});

function start(
  fetchData: FetchData<number[]> | null,
  options: HybridUpdatesOptions<number[]> = {},
): HybridUpdates<number[]> {
  updates = new HybridUpdates(fetchData, 42, { endpoint: ENDPOINT, ...options });
  updates.start();
  return updates;
}

async function live(): Promise<void> {
  await settle();
  FakeSocket.last.live();
  await settle();
}

const reduce = (data: number[] | null, { position }: { position?: { offset: number } }) => [
  ...(data ?? []),
  position!.offset,
];

it('one fetch suffices when the channel is ready soon', async () => {
  const fetchData = vi.fn().mockResolvedValue([]);
  start(fetchData);
  expect(updates.state.get()).toMatchObject({ data: null, loading: true });
  await live();
  await settle(4_000);
  expect(fetchData).toHaveBeenCalledTimes(1);
  expect(updates.state.get()).toMatchObject({ data: [], loading: false, websocketStatus: 'connected' });
});

it('data fetched before the channel was ready is fetched again', async () => {
  const fetchData = vi.fn().mockResolvedValue([]);
  start(fetchData);
  await settle(1_000);
  expect(fetchData).toHaveBeenCalledTimes(1);
  await live();
  expect(fetchData).toHaveBeenCalledTimes(2);
});

it('unreachable bridge does not delay the data', async () => {
  bridge.answers.connect = new TypeError('network');
  bridge.answers.poll = 503;
  const fetchData = vi.fn().mockResolvedValue([1]);
  start(fetchData);
  await settle(1_000);
  expect(updates.state.get()).toMatchObject({ data: [1], loading: false, updateSource: 'polling' });
});

it('burst of events leads to one fetch after 250 ms', async () => {
  const fetchData = vi.fn().mockResolvedValue([]);
  start(fetchData);
  await live();
  for (const offset of [1, 2, 3]) FakeSocket.last.push(offset);
  await settle(249);
  expect(fetchData).toHaveBeenCalledTimes(1);
  await settle(1);
  expect(fetchData).toHaveBeenCalledTimes(2);
});

it('polling calls fetchData', async () => {
  bridge.answers.connect = 503;
  bridge.answers.poll = 503;
  const fetchData = vi.fn().mockResolvedValue([]);
  start(fetchData, { pollingInterval: 2_000 });
  await settle(1_000);
  await settle(6_000);
  expect(fetchData).toHaveBeenCalledTimes(4);
});

it.each([{ websocketEnabled: false }, { enableFeatureFlag: false }])(
  '%o polls fetchData and contacts no bridge',
  async (options) => {
    const fetchData = vi.fn().mockResolvedValue([]);
    start(fetchData, options);
    await settle(10_000);
    expect(fetchData).toHaveBeenCalledTimes(3);
    expect(bridge.requests).toEqual([]);
    expect(FakeSocket.opened).toEqual([]);
    expect(updates.client).toBeNull();
  },
);

it('reduce changes the data without a fetch', async () => {
  const fetchData = vi.fn().mockResolvedValue([0]);
  start(fetchData, { reduce });
  await live();
  FakeSocket.last.push(1);
  FakeSocket.last.push(2);
  await settle(1_000);
  expect(updates.state.get().data).toEqual([0, 1, 2]);
  expect(fetchData).toHaveBeenCalledTimes(1);
});

it('events during a fetch are reduced after it', async () => {
  let answer: (data: number[]) => void = () => {};
  start(() => new Promise((resolve) => (answer = resolve)), { reduce });
  await live();
  FakeSocket.last.push(1);
  FakeSocket.last.push(2);
  answer([0]);
  await settle();
  expect(updates.state.get().data).toEqual([0, 1, 2]);
});

it('reset leads to a fetch before later events are reduced', async () => {
  const fetchData = vi.fn().mockResolvedValueOnce([0]).mockResolvedValue([9]);
  start(fetchData, { reduce });
  await live();
  FakeSocket.last.push(1);
  FakeSocket.last.receive({ type: 'reset', channel: 'user-42', reason: 'truncated', epoch: 'aaaaaaaa', offset: 9, id: 'e9' });
  FakeSocket.last.push(10);
  await settle();
  expect(updates.state.get().data).toEqual([9, 10]);
});

it('failed fetch is shown and retried', async () => {
  const fetchData = vi.fn().mockRejectedValueOnce(new Error('503')).mockResolvedValue([1]);
  start(fetchData);
  await live();
  expect(updates.state.get()).toMatchObject({ loading: false, error: new Error('503') });
  await settle(3_000);
  expect(updates.state.get()).toMatchObject({ data: [1], error: null });
});

it('requests during a fetch share one following fetch', async () => {
  const answers: ((data: number[]) => void)[] = [];
  start(() => new Promise((resolve) => answers.push(resolve)));
  await live();
  const refreshed = [updates.refresh(), updates.refresh()];
  expect(answers).toHaveLength(1);
  answers[0]!([1]);
  await settle();
  expect(answers).toHaveLength(2);
  answers[1]!([2]);
  await Promise.all(refreshed);
  expect(updates.state.get().data).toEqual([2]);
});

it('snapshot replaces fetchData, and its events are not replayed', async () => {
  bridge.answers.latest = {
    events: [eventFrame(1, { key: 'a' })],
    position: { epoch: 'aaaaaaaa', offset: 1, id: 'e1' },
    more: false,
  };
  const onEvent = vi.fn();
  const onSnapshot = ({ events }: { events: readonly unknown[] }) => [events.length * 100];
  start(null, { onSnapshot, onEvent, reduce });
  await live();
  FakeSocket.last.push(1);
  FakeSocket.last.push(2);
  await settle();
  expect(updates.state.get()).toMatchObject({ data: [100, 2], loading: false });
  expect(onEvent).toHaveBeenCalledTimes(1);
});

it('stop aborts the fetch, and start works again', async () => {
  const signals: AbortSignal[] = [];
  start(({ signal }) => {
    signals.push(signal);
    return new Promise(() => {});
  });
  await live();
  updates.stop();
  expect(signals[0]!.aborted).toBe(true);
  expect(vi.getTimerCount()).toBe(0);
  updates.start();
  await live();
  expect(signals).toHaveLength(2);
});
