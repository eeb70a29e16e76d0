/** Members of a channel, with snapshots and events of a test. */

import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import type { Presence, PresenceState } from '../../src/types.js';
import { FakeClient } from '../react/fake-client.js';

const NAME = '@realtime.presence.chat.1';
const FRAME = 16;

let client: FakeClient;
let journal: string[];
let presence: Presence;

beforeEach(() => {
  vi.useFakeTimers();
  client = new FakeClient();
  journal = [];
  presence = client.presence('chat.1', {
    onJoin: ({ user }) => journal.push(`+${user}`),
    onLeave: ({ user }) => journal.push(`-${user}`),
  });
});

afterEach(() => {
  vi.useRealTimers();
});

/** Listen, and wait until the code is loaded. */
async function listen({ state }: Presence): Promise<() => void> {
  const end = state.subscribe(() => {});
  await vi.dynamicImportSettled();
  return end;
}

function join(key: string, user: string): void {
  client.emit(NAME, 'presence.joined', { user, info: null }, { key });
}

function leave(key: string, user: string): void {
  client.emit(NAME, 'presence.left', { user }, { key, fold: 'end' });
}

function users({ members }: PresenceState): string[] {
  return members.map(({ user }) => user);
}

it('subscribes from the first listener to the last', async () => {
  expect(client.subscriptions).toEqual([]);
  const ends = [await listen(presence), await listen(presence)];
  expect(client.subscriptions.map(({ channel }) => channel)).toEqual([NAME]);
  ends[0]?.();
  expect(client.live).toHaveLength(1);
  ends[1]?.();
  expect(client.live).toEqual([]);
  await listen(presence);
  expect(client.live).toHaveLength(1);
  presence.close();
  expect(client.live).toEqual([]);
});

it('shows the members, and each join and departure once', async () => {
  await listen(presence);
  client.snapshot(NAME, [client.event(NAME, 'presence.joined', { user: 'ada', info: { name: 'Ada' } }, { key: 'a-1' })]);
  vi.advanceTimersByTime(FRAME);
  expect(presence.state.get()).toEqual({ members: [{ user: 'ada', info: { name: 'Ada' } }], count: 1, phase: 'current', error: null });
  join('a-2', 'bob');
  join('b-1', 'bob');
  leave('a-2', 'bob');
  vi.advanceTimersByTime(5_000);
  expect([journal, users(presence.state.get())]).toEqual([['+bob'], ['ada', 'bob']]);
  leave('b-1', 'bob');
  vi.advanceTimersByTime(1_999);
  expect(journal).toEqual(['+bob']);
  vi.advanceTimersByTime(1 + FRAME);
  expect([journal, users(presence.state.get())]).toEqual([['+bob', '-bob'], ['ada']]);
});

it('a user who comes back in time has not left', async () => {
  await listen(presence);
  client.snapshot(NAME, []);
  join('a-1', 'ada');
  leave('a-1', 'ada');
  vi.advanceTimersByTime(1_900);
  join('b-1', 'ada');
  vi.advanceTimersByTime(5_000);
  expect(journal).toEqual(['+ada']);
});

it('a listener that ends at once leaves no subscription', async () => {
  presence.state.subscribe(() => {})();
  await vi.dynamicImportSettled();
  expect(client.subscriptions).toEqual([]);
});

it('after the last listener no departure follows', async () => {
  const end = await listen(presence);
  client.snapshot(NAME, []);
  join('a-1', 'ada');
  leave('a-1', 'ada');
  end();
  vi.advanceTimersByTime(5_000);
  expect(journal).toEqual(['+ada']);
});

it('a handler that fails stops nothing, and a denial is shown', async () => {
  const fails = vi.spyOn(console, 'error').mockImplementation(() => {});
  const failing = client.presence('chat.1', { onJoin: () => { throw new Error('a page'); } });
  await listen(failing);
  client.snapshot(NAME, []);
  join('a-1', 'ada');
  client.channel(NAME).merge({ error: 'forbidden' });
  vi.advanceTimersByTime(FRAME);
  expect(failing.state.get()).toMatchObject({ count: 1, error: 'forbidden' });
  fails.mockRestore();
});
