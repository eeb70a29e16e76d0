/** Stop of a stream that may not have begun. */

import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { START_MS, stopOnceKnown } from '../../src/streams/stop-once-known.js';
import { FakeClient } from '../react/fake-client.js';
import { CHANNEL, StreamEvents } from '../support/stream-events.js';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

it('stream that never begins keeps no subscription', async () => {
  const client = new FakeClient();
  const stopped = stopOnceKnown(client.stream(CHANNEL, 'm1'));
  expect(client.live).toHaveLength(1);
  await vi.advanceTimersByTimeAsync(START_MS);
  await stopped;
  expect(client.live).toEqual([]);
  expect(client.calls).toEqual([]);
});

it('stream is stopped when it begins', async () => {
  const client = new FakeClient();
  const stopped = stopOnceKnown(client.stream(CHANNEL, 'm1'));
  new StreamEvents(client).begin();
  await vi.advanceTimersByTimeAsync(1_000);
  await stopped;
  expect(client.calls).toEqual([`stop ${CHANNEL} m1 a1`]);
  expect(client.live).toEqual([]);
  expect(vi.getTimerCount()).toBe(0);
});
