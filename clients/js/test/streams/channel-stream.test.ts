/** Streams of a client, with snapshots and events of a test. */

import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { ChannelStream } from '../../src/streams/channel-stream.js';
import type { RealtimeEvent, StreamState } from '../../src/types.js';
import { FakeClient } from '../react/fake-client.js';

const CHANNEL = 'chat.1';
const FRAME = 16;

let client: FakeClient;

beforeEach(() => {
  vi.useFakeTimers();
  client = new FakeClient();
});

afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

function started(stream: string, attempt = 'A', more: Partial<RealtimeEvent> = {}): RealtimeEvent {
  const data = { stream, format: 'text', meta: null };
  return client.event(CHANNEL, 'stream.started', data, { key: `stream-${stream}`, attempt, ...more });
}

function part(stream: string, ...items: string[]): RealtimeEvent {
  return client.event(CHANNEL, 'stream.part', items, { key: `stream-${stream}`, fold: 'append', attempt: 'A' });
}

function give(...events: RealtimeEvent[]): void {
  for (const { onEvent } of client.live) for (const event of events) void onEvent?.(event);
}

/** Answer the load of this key; without a key, that of the latest events. */
function load(key: string | undefined, ...events: RealtimeEvent[]): void {
  for (const { snapshotKey, onSnapshot } of client.live) {
    if (snapshotKey === key) void onSnapshot?.({ channel: CHANNEL, events, position: { epoch: 'k3v9q2wz', offset: 9 } });
  }
}

/** Listen to a stream, and return what each notification showed. */
function listen(stream: ChannelStream<string>): { shown: StreamState<string>[]; end: () => void } {
  const shown: StreamState<string>[] = [];
  const end = stream.state.subscribe(() => shown.push(stream.state.get()));
  return { shown, end };
}

it('subscribes from the first listener to the last', () => {
  const stream = new ChannelStream<string>(client, CHANNEL, 'm1', { keepInBackground: true });
  expect(client.subscriptions).toEqual([]);
  const [one, other] = [listen(stream), listen(stream)];
  expect(client.live).toMatchObject([{ snapshotKey: 'stream-m1', keepInBackground: true }]);
  one.end();
  one.end();
  expect(client.live).toHaveLength(1);
  other.end();
  expect(client.live).toEqual([]);
});

it('is unknown until its group is loaded', () => {
  const stream = new ChannelStream<string>(client, CHANNEL, 'm1');
  listen(stream);
  expect(stream.state.get()).toMatchObject({ state: 'unknown', id: null, phase: 'syncing' });
  load('stream-m1', started('m1'), part('m1', 'Hel', 'lo'));
  client.channel(CHANNEL).merge({ phase: 'current' });
  vi.advanceTimersByTime(FRAME);
  expect(stream.state.get()).toMatchObject({ state: 'open', id: 'm1', text: 'Hello', phase: 'current' });
});

it('notifies once in a frame, whatever the number of parts', () => {
  const stream = new ChannelStream<string>(client, CHANNEL, 'm1');
  const { shown } = listen(stream);
  load('stream-m1', started('m1'));
  for (let number = 0; number < 100; number += 1) give(part('m1', 'x'));
  expect(shown).toEqual([]);
  vi.advanceTimersByTime(FRAME);
  expect(shown.map(({ items }) => items.length)).toEqual([100]);
  vi.advanceTimersByTime(1_000);
  expect(shown).toHaveLength(1);
});

it('is shown in a hidden page, which has no frames', () => {
  const frames = new Map<number, () => void>();
  vi.stubGlobal('requestAnimationFrame', (call: () => void) => frames.set(frames.size + 1, call).size);
  vi.stubGlobal('cancelAnimationFrame', (frame: number) => frames.delete(frame));
  const stream = new ChannelStream<string>(client, CHANNEL, 'm1');
  const { shown } = listen(stream);
  load('stream-m1', started('m1'));
  for (const call of frames.values()) call();
  expect(shown).toHaveLength(1);
  give(part('m1', 'hidden'));
  vi.advanceTimersByTime(250);
  expect(shown.map(({ text }) => text)).toEqual(['', 'hidden']);
  expect(frames.size).toBe(0);
});

it('events of other keys change nothing', () => {
  const stream = new ChannelStream<string>(client, CHANNEL, 'm1');
  listen(stream);
  load('stream-m1', started('m1'));
  give(part('m2', 'other'), client.event(CHANNEL, 'job.step', { a: 1 }), part('m1', 'ours'));
  vi.advanceTimersByTime(FRAME);
  expect(stream.state.get().text).toBe('ours');
});

it('stays as it was after a reset, until its group is loaded', () => {
  const stream = new ChannelStream<string>(client, CHANNEL, 'm1');
  const { shown } = listen(stream);
  load('stream-m1', started('m1'), part('m1', 'before'));
  vi.advanceTimersByTime(FRAME);
  client.reset(CHANNEL);
  client.channel(CHANNEL).merge({ phase: 'stale' });
  vi.advanceTimersByTime(FRAME);
  load('stream-m1');
  vi.advanceTimersByTime(FRAME);
  load('stream-m1', started('m1'), part('m1', 'before', ' and after'));
  vi.advanceTimersByTime(FRAME);
  expect(shown.map(({ text }) => text)).toEqual(['before', 'before', 'before and after']);
});

it('without an id follows the stream that began last', () => {
  const stream = new ChannelStream<string>(client, CHANNEL);
  listen(stream);
  const [first, second] = [started('m1'), started('m2')];
  const ended = client.event(CHANNEL, 'stream.ended', { state: 'completed' }, { key: 'stream-m1', fold: 'end' });
  load(undefined, second, first, ended, client.event(CHANNEL, 'stream.started', {}, { key: 'other' }));
  expect(client.live.map(({ snapshotKey }) => snapshotKey)).toEqual([undefined, 'stream-m2']);
  load('stream-m2', second, part('m2', 'two'));
  vi.advanceTimersByTime(FRAME);
  expect(stream.state.get()).toMatchObject({ id: 'm2', text: 'two' });
  give(started('m2'), started('m3'));
  expect(client.live.map(({ snapshotKey }) => snapshotKey)).toEqual([undefined, 'stream-m3']);
  vi.advanceTimersByTime(FRAME);
  expect(stream.state.get()).toMatchObject({ id: 'm2' });
  load('stream-m3', started('m3'), part('m3', 'three'));
  vi.advanceTimersByTime(FRAME);
  expect(stream.state.get()).toMatchObject({ id: 'm3', text: 'three' });
});

it('without an id is unknown in a channel without streams', () => {
  const stream = new ChannelStream<string>(client, CHANNEL, null);
  listen(stream);
  load(undefined, client.event(CHANNEL, 'job.step', {}, { key: 'job-1' }));
  vi.advanceTimersByTime(FRAME);
  expect(stream.state.get().state).toBe('unknown');
  expect(client.live).toHaveLength(1);
});

it('shows the reason of a denial', () => {
  const stream = new ChannelStream<string>(client, CHANNEL, 'm1');
  listen(stream);
  client.channel(CHANNEL).merge({ error: 'this user may not listen to it' });
  vi.advanceTimersByTime(FRAME);
  expect(stream.state.get()).toMatchObject({ state: 'unknown', error: 'this user may not listen to it' });
});

it('stop names the attempt that is shown', async () => {
  const stream = new ChannelStream<string>(client, CHANNEL, 'm1');
  await stream.stop();
  listen(stream);
  load('stream-m1', started('m1', 'B'));
  await stream.stop();
  expect(client.calls).toEqual(['stop chat.1 m1 null', 'stop chat.1 m1 B']);
});

it('stop without a stream does nothing', async () => {
  await new ChannelStream<string>(client, CHANNEL).stop();
  expect(client.calls).toEqual([]);
});

it('close ends it, and a new listener begins it again', () => {
  const stream = new ChannelStream<string>(client, CHANNEL, 'm1');
  const { shown } = listen(stream);
  load('stream-m1', started('m1'), part('m1', 'kept'));
  stream.close();
  vi.advanceTimersByTime(1_000);
  expect(client.live).toEqual([]);
  expect(shown).toEqual([]);
  listen(stream);
  load('stream-m1', started('m1'), part('m1', 'kept', ' on'));
  vi.advanceTimersByTime(FRAME);
  expect(stream.state.get().text).toBe('kept on');
});
