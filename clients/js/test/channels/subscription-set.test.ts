/** Snapshots that the handlers of a channel share. */

import { expect, it, vi } from 'vitest';
import { SubscriptionSet } from '../../src/channels/subscription-set.js';
import { DEFAULT_TIMING } from '../../src/machine/timing.js';
import type { RealtimeEvent, Snapshot } from '../../src/types.js';

const TOP = { epoch: 'aaaaaaaa', offset: 1 };

/** Subscriptions to `c` at `TOP`, whose loads a test answers. */
function subscriptions() {
  const loads: { key: string | undefined; answer: (snapshot: Snapshot) => void }[] = [];
  const nothing = (): void => {};
  const set = new SubscriptionSet({
    client: 'c_1',
    latest: (_, key) => new Promise((answer) => loads.push({ key, answer })),
    telemetry: nothing,
    loaded: nothing,
    requested: nothing,
    ended: nothing,
  }, DEFAULT_TIMING);
  set.add('c', {});
  set.page('c', { events: [], top: TOP, more: false });
  return { set, loads };
}

function event(offset: number): RealtimeEvent {
  return { channel: 'c', event: 'e', id: `e${offset}`, data: offset, position: { ...TOP, offset } };
}

it('handlers share a load of the same key only', () => {
  const { set, loads } = subscriptions();
  for (const snapshotKey of ['a', 'a', 'b']) set.add('c', { onSnapshot: () => {}, snapshotKey });
  for (let count = 0; count < 2; count += 1) set.add('c', { onSnapshot: () => {} });
  expect(loads.map(({ key }) => key)).toEqual(['a', 'b', undefined]);
});

it('handlers that join during a load miss no event', async () => {
  const { set, loads } = subscriptions();
  const seen: unknown[] = [];
  const onSnapshot = ({ position }: Snapshot): void => void seen.push(`as of ${position.offset}`);
  set.add('c', { onSnapshot: () => {} });
  set.event(event(2));
  set.add('c', { onSnapshot, onEvent: ({ data }) => void seen.push(data) });
  set.event(event(3));
  for (const [index, { answer }] of loads.entries()) {
    answer({ channel: 'c', events: [], position: { ...TOP, offset: index + 1 } });
  }
  await vi.waitFor(() => expect(seen).toEqual(['as of 2', 3]));
});
