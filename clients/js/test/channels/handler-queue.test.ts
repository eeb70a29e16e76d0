/** Order and limits of handler calls. */

import { expect, it, vi } from 'vitest';
import { HandlerQueue, CAPACITY } from '../../src/channels/handler-queue.js';
import type { RealtimeEvent } from '../../src/index.js';


it('slow handler gets a reset instead of the waiting events', async () => {
  let release = (): void => {};
  const onReset = vi.fn();
  const stuck = new Promise<void>((resolve) => (release = resolve));
  const delivery = new HandlerQueue({ onEvent: () => stuck, onReset }, () => Promise.reject());
  const event: RealtimeEvent = { channel: 'c', event: 'e', id: 'i', data: 1 };
  for (let count = 0; count <= CAPACITY; count += 1) delivery.event(event);
  release();
  await vi.waitFor(() => expect(onReset).toHaveBeenCalledTimes(1));
  expect(onReset.mock.calls[0]![0]).toMatchObject({ channel: 'c', reason: 'truncated' });
});

it.each(['a push', 'a pause and a resume'])('handler that leads to %s gets each event once', (what) => {
  const calls: string[] = [];
  const event = (id: string): RealtimeEvent => ({ channel: 'c', event: 'e', id, data: null });
  const onEvent = ({ id }: RealtimeEvent): void => {
    calls.push(`begin ${id}`);
    if (id === 'one' && what === 'a push') delivery.event(event('two'));
    delivery.pause();
    delivery.resume();
    calls.push(`end ${id}`);
  };
  const delivery = new HandlerQueue({ onEvent }, () => Promise.reject());
  delivery.event(event('one'));
  if (what !== 'a push') delivery.event(event('two'));
  expect(calls).toEqual(['begin one', 'end one', 'begin two', 'end two']);
});

it('handler that unsubscribes gets no further event', () => {
  const onEvent = vi.fn(() => delivery.end());
  const delivery = new HandlerQueue({ onEvent }, () => Promise.reject());
  for (const id of ['one', 'two']) delivery.event({ channel: 'c', event: 'e', id, data: null });
  expect(onEvent).toHaveBeenCalledTimes(1);
});

it('snapshot is loaded again where the log has another event at its position', async () => {
  const place = (offset: number, id: string) => ({ epoch: 'aaaaaaaa', offset, id });
  const event = (offset: number, id: string): RealtimeEvent =>
    ({ channel: 'c', event: 'e', id, data: null, position: place(offset, id) });
  const seen: string[] = [];
  const snapshots = [place(3, 'lost'), place(4, 'd')].map((position) => ({ channel: 'c', events: [], position }));
  const delivery = new HandlerQueue(
    {
      onEvent: ({ id }) => void seen.push(id),
      onSnapshot: ({ position }) => void seen.push(`as of ${position.id}`),
    },
    () => Promise.resolve(snapshots.shift()!),
  );
  delivery.snapshot();
  delivery.event(event(3, 'c'));
  await vi.waitFor(() => expect(seen).toEqual(['as of lost', 'as of d']));
  for (const [offset, id] of [[4, 'd'], [5, 'e']] as const) delivery.event(event(offset, id));
  expect(seen).toEqual(['as of lost', 'as of d', 'e']);
});
