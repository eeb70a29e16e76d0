/** Small parts, each for itself. */

import { afterEach, expect, it, vi } from 'vitest';
import { isEnabled } from '../src/debug.js';
import { Delivery, WAITING } from '../src/delivery.js';
import { ask } from '../src/http.js';
import { readData } from '../src/sse.js';
import { Store } from '../src/store.js';
import type { RealtimeEvent } from '../src/index.js';

afterEach(() => vi.unstubAllGlobals());

it('a store tells its listeners of changes alone', () => {
  const store = new Store({ a: 1, b: 2 });
  const listener = vi.fn();
  const end = store.subscribe(listener);
  store.merge({ a: 1 });
  expect(listener).not.toHaveBeenCalled();
  store.merge({ a: 3 });
  expect(store.get()).toEqual({ a: 3, b: 2 });
  end();
  store.merge({ a: 4 });
  expect(listener).toHaveBeenCalledTimes(1);
});

it.each([
  ['realtime:*', true],
  ['*', true],
  ['other, realtime:client', true],
  ['realtime:*,-realtime:client', false],
  ['other:*', false],
  ['', false],
])('debug=%s: %s', (wanted, enabled) => {
  expect(isEnabled('realtime:client', wanted)).toBe(enabled);
});

it('a stream of events is read however it is cut into pieces', async () => {
  const text = 'retry: 3000\n\n: comment\n\nid: a:1\ndata: {"ä":1}\n\ndata: one\r\ndata: two\r\n\r\ndata: unfinished';
  const bytes = new TextEncoder().encode(text);
  const body = new ReadableStream({
    start(controller) {
      for (const byte of bytes) controller.enqueue(new Uint8Array([byte]));
      controller.close();
    },
  });
  const read: string[] = [];
  for await (const data of readData(new Response(body), new AbortController().signal)) read.push(data);
  expect(read).toEqual(['{"ä":1}', 'one\ntwo']);
});

it.each([
  ['7', 7_000],
  [null, undefined],
])('Retry-After %s is %s ms', async (header, retryAfter) => {
  const headers: Record<string, string> = header ? { 'retry-after': header } : {};
  vi.stubGlobal('fetch', async () => new Response('', { status: 429, headers }));
  const asked = ask('http://x.test', { signal: new AbortController().signal });
  await expect(asked).rejects.toMatchObject({ status: 429, retryAfter });
});

it('a handler that falls too far behind is told that there is a hole', async () => {
  let release = (): void => {};
  const onReset = vi.fn();
  const stuck = new Promise<void>((resolve) => (release = resolve));
  const delivery = new Delivery({ onEvent: () => stuck, onReset }, () => Promise.reject());
  const event: RealtimeEvent = { channel: 'c', event: 'e', id: 'i', data: 1 };
  for (let count = 0; count <= WAITING; count += 1) delivery.event(event);
  release();
  await vi.waitFor(() => expect(onReset).toHaveBeenCalledTimes(1));
  expect(onReset.mock.calls[0]![0]).toMatchObject({ channel: 'c', reason: 'truncated' });
});

it.each(['a push', 'a pause and a resume'])('a handler that leads to %s is not called again with the same event', (what) => {
  const calls: string[] = [];
  const event = (id: string): RealtimeEvent => ({ channel: 'c', event: 'e', id, data: null });
  const onEvent = ({ id }: RealtimeEvent): void => {
    calls.push(`begin ${id}`);
    if (id === 'one' && what === 'a push') delivery.event(event('two'));
    delivery.pause();
    delivery.resume();
    calls.push(`end ${id}`);
  };
  const delivery = new Delivery({ onEvent }, () => Promise.reject());
  delivery.event(event('one'));
  if (what !== 'a push') delivery.event(event('two'));
  expect(calls).toEqual(['begin one', 'end one', 'begin two', 'end two']);
});

it('a handler that ends its own subscription gets nothing more', () => {
  const onEvent = vi.fn(() => delivery.end());
  const delivery = new Delivery({ onEvent }, () => Promise.reject());
  for (const id of ['one', 'two']) delivery.event({ channel: 'c', event: 'e', id, data: null });
  expect(onEvent).toHaveBeenCalledTimes(1);
});
