/** Client with a scripted bridge: requests, state and released resources. */

import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { HybridClient } from '../src/index.js';
import type { ChannelHandlers, ClientOptions, RealtimeEvent, Telemetry } from '../src/index.js';
import { DESCRIPTOR, FakeBridge, FakeSocket, eventFrame, settle } from './support/bridge.js';

const CHANNEL = 'user-42';
const ENDPOINT = 'http://bridge.test/realtime';

let bridge: FakeBridge;
let client: HybridClient;

beforeEach(() => {
  vi.useFakeTimers();
  vi.spyOn(Math, 'random').mockReturnValue(0.5);
  bridge = new FakeBridge().install();
});

afterEach(() => {
  client.stop();
  vi.useRealTimers();
  vi.unstubAllGlobals();
  vi.restoreAllMocks();
});

function create(options: ClientOptions = {}): HybridClient {
  client = new HybridClient({ endpoint: ENDPOINT, ...options });
  return client;
}

/** Start a client that is live on one channel, and return the offsets of its handler's calls. */
async function live(handlers: ChannelHandlers = {}, options: ClientOptions = {}): Promise<number[]> {
  const offsets: number[] = [];
  const onEvent = (event: RealtimeEvent) => void offsets.push(event.position!.offset);
  create(options).start();
  client.subscribe(CHANNEL, { onEvent, ...handlers });
  await settle();
  FakeSocket.last.live();
  await settle();
  return offsets;
}

it('client contacts nothing before start or when switched off', async () => {
  for (const options of [{}, { websocketEnabled: false }, { enableFeatureFlag: false }]) {
    create(options);
    client.subscribe(CHANNEL, {});
    if (Object.keys(options).length) client.start();
    client.refresh();
    await settle(60_000);
  }
  expect(bridge.requests).toEqual([]);
  expect(FakeSocket.opened).toEqual([]);
  expect(client.state.get()).toMatchObject({ updateSource: 'polling', websocketStatus: 'disconnected' });
});

it('connect message carries the token, and the URL does not', async () => {
  await live();
  const { url, sent } = FakeSocket.last;
  expect(url).toBe('ws://bridge.test/realtime/ws');
  expect(sent[0]).toMatchObject({ type: 'connect', token: 'token-1', version: 1 });
  expect(sent[1]).toEqual({ type: 'subscribe', channel: CHANNEL });
  expect(bridge.requested('connect')).toEqual([{ client: client.id }]);
  expect(client.state.get()).toMatchObject({ kind: 'realtime', websocketStatus: 'connected', user: '42' });
});

it('welcome with another nonce is ignored', async () => {
  create().start();
  await settle();
  FakeSocket.last.open();
  FakeSocket.last.receive({ type: 'welcome', nonce: 'another' });
  await settle(5_000);
  expect(client.state.get().mode).toBe('FALLBACK');
});

it('invalid message closes the socket', async () => {
  create().start();
  await settle();
  const socket = FakeSocket.last;
  socket.open();
  socket.onmessage?.({ data: '<html>sign in</html>' });
  expect(socket.closedWith).toBe(1000);
  expect(client.state.get().mode).toBe('FALLBACK');
});

it('gap is requested once from the position and filled in order', async () => {
  const offsets = await live();
  const socket = FakeSocket.last;
  socket.push(1);
  socket.push(3);
  socket.push(4);
  const position = { epoch: 'aaaaaaaa', offset: 1, id: 'e1' };
  expect(socket.requested('subscribe').slice(1)).toEqual([{ type: 'subscribe', channel: CHANNEL, position }]);
  expect(client.channel(CHANNEL).get().phase).toBe('stale');
  socket.answer(CHANNEL, { epoch: 'aaaaaaaa', offset: 4, id: 'e4' }, [2, 3, 4].map((at) => eventFrame(at)));
  expect(offsets).toEqual([1, 2, 3, 4]);
  expect(client.channel(CHANNEL).get().phase).toBe('current');
});

it('heartbeat reveals a lost last event', async () => {
  await live();
  FakeSocket.last.receive({ type: 'heartbeat', offsets: { [CHANNEL]: 1 }, generation: 0 });
  expect(FakeSocket.last.requested('subscribe')).toHaveLength(2);
});

it('second request for a channel waits for the first answer', async () => {
  await live();
  const socket = FakeSocket.last;
  socket.push(2);
  socket.receive({ type: 'heartbeat', offsets: { [CHANNEL]: 3 }, generation: 0 });
  expect(socket.requested('subscribe')).toHaveLength(2);
  socket.answer(CHANNEL, { epoch: 'aaaaaaaa', offset: 2, id: 'e2' }, [eventFrame(1), eventFrame(2)]);
  socket.receive({ type: 'heartbeat', offsets: { [CHANNEL]: 3 }, generation: 0 });
  expect(socket.requested('subscribe')).toHaveLength(3);
});

it('lost socket leads to a poll within a second', async () => {
  const offsets = await live();
  FakeSocket.last.push(1);
  bridge.answers.poll = {
    channels: { [CHANNEL]: { events: [eventFrame(2)], position: { epoch: 'aaaaaaaa', offset: 2, id: 'e2' }, more: false } },
    next_ms: 1_000,
  };
  FakeSocket.last.end();
  expect(client.state.get()).toMatchObject({ kind: 'polling', label: 'Polling', updateSource: 'polling' });
  await settle(1_000);
  expect(bridge.requested('poll')).toEqual([{ positions: { [CHANNEL]: { epoch: 'aaaaaaaa', offset: 1, id: 'e1' } } }]);
  expect(offsets).toEqual([1, 2]);
});

it('reconnected socket resumes from the polled position', async () => {
  await live();
  FakeSocket.last.push(1);
  FakeSocket.last.end();
  await settle(2_000);
  const socket = FakeSocket.last;
  expect(FakeSocket.opened).toHaveLength(2);
  socket.live({ epoch: 'aaaaaaaa', offset: 1, id: 'e1' });
  expect(socket.requested('subscribe')[0]!.position).toEqual({ epoch: 'aaaaaaaa', offset: 1, id: 'e1' });
  expect(client.state.get().kind).toBe('realtime');
});

it('further pages of a long poll result follow', async () => {
  const offsets = await live({}, { transport: 'auto' });
  const page = (offset: number, more: boolean) => ({
    channels: {
      [CHANNEL]: { events: [eventFrame(offset)], position: { epoch: 'aaaaaaaa', offset, id: `e${offset}` }, more },
    },
  });
  let offset = 0;
  bridge.answers.poll = () => page((offset += 1), offset < 3);
  FakeSocket.last.end();
  await settle(1_100);
  expect(offsets).toEqual([1, 2, 3]);
});

it('drained socket is closed after its successor is ready', async () => {
  const offsets = await live();
  const old = FakeSocket.last;
  old.receive({ type: 'drain', after: 0, window: 2 });
  await settle(1_000);
  const successor = FakeSocket.last;
  expect(successor).not.toBe(old);
  old.push(1);
  successor.live({ epoch: 'aaaaaaaa', offset: 1, id: 'e1' });
  expect(old.closedWith).toBe(1000);
  successor.push(2);
  expect(offsets).toEqual([1, 2]);
  expect(client.state.get().kind).toBe('realtime');
});

it('open requests of a drained socket move to its successor', async () => {
  await live();
  const old = FakeSocket.last;
  old.receive({ type: 'drain', after: 0, window: 0 });
  await settle();
  const successor = FakeSocket.last;
  successor.open();
  successor.receive({ type: 'welcome', nonce: successor.requested('connect')[0]!.nonce });
  old.push(2);
  successor.answer(CHANNEL, { epoch: 'aaaaaaaa', offset: 0 });
  expect(old.closedWith).toBe(1000);
  expect(successor.requested('subscribe')).toHaveLength(2);
});

it('fresh token is sent on the open socket', async () => {
  await live();
  bridge.answers.connect = { ...DESCRIPTOR, token: 'token-2' };
  for (let second = 0; second < 480; second += 5) {
    await settle(5_000);
    FakeSocket.last.receive({ type: 'heartbeat', offsets: {}, generation: 0 });
  }
  expect(FakeSocket.last.requested('token')).toEqual([{ type: 'token', token: 'token-2', nonce: expect.any(String) }]);
  expect(FakeSocket.opened).toHaveLength(1);
});

it('idle socket sends a ping', async () => {
  await live({}, { heartbeatInterval: 7_000 });
  await settle(7_000);
  expect(FakeSocket.last.requested('ping')).toHaveLength(1);
});

it('silence leads to a ping, a poll and a new socket', async () => {
  await live();
  FakeSocket.silent = true;
  await settle(15_000);
  expect(client.state.get().mode).toBe('SUSPECT');
  expect(FakeSocket.last.requested('ping')).toHaveLength(1);
  await settle(3_000);
  expect(client.state.get().mode).toBe('FALLBACK');
  expect(bridge.requested('poll').length).toBeGreaterThan(0);
});

it('denied channel shows its reason and is retried on request', async () => {
  await live();
  const [onReset, onError] = [vi.fn(), vi.fn()];
  client.subscribe('job.7', { onReset, onError });
  const socket = FakeSocket.last;
  socket.receive({ type: 'refused', channel: 'job.7', code: 403, message: '42 may not listen to job.7' });
  expect(client.channel('job.7').get().error).toBe('42 may not listen to job.7');
  expect(onError).toHaveBeenCalledWith({ channel: 'job.7', message: '42 may not listen to job.7' });
  expect(onReset).not.toHaveBeenCalled();
  expect(client.state.get().kind).toBe('realtime');
  client.retry();
  expect(client.channel('job.7').get().error).toBeNull();
  expect(socket.requested('subscribe').at(-1)).toEqual({ type: 'subscribe', channel: 'job.7' });
});

it('temporary refusal is retried', async () => {
  await live();
  client.subscribe('job.7', {});
  FakeSocket.last.receive({ type: 'refused', channel: 'job.7', code: 500, message: 'try again' });
  await settle(5_000);
  expect(FakeSocket.last.requested('subscribe').filter(({ channel }) => channel === 'job.7')).toHaveLength(2);
});

it('handlers of one channel share its subscription', async () => {
  await live();
  const first = client.subscribe('job.7', {});
  const second = client.subscribe('job.7', {});
  expect(FakeSocket.last.requested('subscribe')).toHaveLength(2);
  first();
  expect(FakeSocket.last.requested('unsubscribe')).toEqual([]);
  second();
  await settle(100);
  expect(FakeSocket.last.requested('unsubscribe')).toEqual([{ type: 'unsubscribe', channels: ['job.7'] }]);
});

it('channel that a poll denies is left, and makes room for another', async () => {
  bridge.answers.connect = { ...DESCRIPTOR, limits: { channels: 1 } };
  await live({}, { transport: 'auto' });
  client.subscribe('job.7', {});
  bridge.answers.poll = { channels: { [CHANNEL]: { error: { code: 403, message: 'no' } } } };
  const socket = FakeSocket.last;
  socket.receive({ type: 'refused', channel: CHANNEL, code: 500, message: 'its rule failed' });
  await settle(2_000);
  expect(client.channel(CHANNEL).get().error).toBe('no');
  expect(socket.requested('unsubscribe')).toEqual([{ type: 'unsubscribe', channels: [CHANNEL] }]);
  expect(socket.requested('subscribe').at(-1)).toEqual({ type: 'subscribe', channel: 'job.7' });
});

it('another subscriber of a denied channel requests it again', async () => {
  await live();
  const refusal = { type: 'refused', channel: 'job.7', code: 403, message: 'no' };
  const onError = vi.fn();
  client.subscribe('job.7', { onError });
  FakeSocket.last.receive(refusal);
  client.subscribe('job.7', {});
  expect(client.channel('job.7').get().error).toBeNull();
  FakeSocket.last.receive(refusal);
  expect(onError).toHaveBeenCalledTimes(2);
  expect(FakeSocket.last.requested('subscribe').filter(({ channel }) => channel === 'job.7')).toHaveLength(2);
});

it.each([1, 41, 100, 128])('%s channels that are left in one tick end by one message', async (count) => {
  await live();
  const names = Array.from({ length: count }, (_, number) => `job.${number}`);
  const ends = names.map((name) => client.subscribe(name, {}));
  for (const end of ends) end();
  await settle(100);
  expect(FakeSocket.last.requested('unsubscribe')).toEqual([{ type: 'unsubscribe', channels: names }]);
});

it.each([1, 41, 100, 128])('list of %s that is left and joined in one tick sends nothing', async (count) => {
  await live();
  const names = Array.from({ length: count }, (_, number) => `job.${number}`);
  const ends = names.map((name) => client.subscribe(name, {}));
  for (const name of names) FakeSocket.last.answer(name, { epoch: 'aaaaaaaa', offset: 0 });
  const sent = FakeSocket.last.sent.length;
  for (const end of ends) end();
  for (const name of names) client.subscribe(name, {});
  await settle(1_000);
  expect(FakeSocket.last.sent).toHaveLength(sent);
});

it('events between leaving and joining in one tick reach the next handlers', async () => {
  await live();
  const journal: number[] = [];
  const onEvent = ({ position }: RealtimeEvent): void => void journal.push(position!.offset);
  const end = client.subscribe('job.7', {});
  FakeSocket.last.answer('job.7', { epoch: 'aaaaaaaa', offset: 0 });
  end();
  for (const offset of [1, 2]) FakeSocket.last.push(offset, { channel: 'job.7' });
  client.subscribe('job.7', { onEvent });
  FakeSocket.last.push(3, { channel: 'job.7' });
  expect(journal).toEqual([1, 2, 3]);
});

it.each([
  [29_000, { type: 'subscribe', channel: 'job.7', position: { epoch: 'aaaaaaaa', offset: 1, id: 'e1' } }],
  [31_000, { type: 'subscribe', channel: 'job.7' }],
])('channel that is joined again after %s ms asks from its position for 30 s', async (pause, request) => {
  await live();
  const end = client.subscribe('job.7', {});
  FakeSocket.last.answer('job.7', { epoch: 'aaaaaaaa', offset: 0 });
  FakeSocket.last.push(1, { channel: 'job.7' });
  end();
  for (let waited = 0; waited < pause; waited += 1_000) {
    await settle(1_000);
    FakeSocket.last.receive({ type: 'heartbeat', offsets: {}, generation: 0 });
  }
  client.subscribe('job.7', {});
  expect(FakeSocket.last.requested('subscribe').at(-1)).toEqual(request);
});

it('names of channels are forgotten after their last subscriber', async () => {
  await live();
  const stores = (client as unknown as { _subscriptions: { _stores: Map<string, unknown> } })._subscriptions._stores;
  for (let number = 0; number < 50; number += 1) {
    client.channel(`job.${number}`).get();
    const end = client.subscribe(`job.${number}`, {});
    const unwatch = client.channel(`job.${number}`).subscribe(() => {});
    end();
    unwatch();
  }
  await settle(100);
  expect([...stores.keys()]).toEqual([CHANNEL]);
});

it('resets in a row reach a handler every 5 s at most, and an event ends the wait', async () => {
  const onReset = vi.fn();
  const onEvent = vi.fn();
  await live({ onReset, onEvent });
  const reset = (offset: number): void =>
    FakeSocket.last.receive({ type: 'reset', channel: CHANNEL, reason: 'truncated', epoch: 'aaaaaaaa', offset });
  for (const offset of [1, 2, 3]) reset(offset);
  expect(onReset).toHaveBeenCalledTimes(1);
  await settle(5_000);
  expect(onReset.mock.calls.map(([{ position }]) => position.offset)).toEqual([1, 3]);
  reset(4);
  FakeSocket.last.push(5);
  expect(onReset).toHaveBeenCalledTimes(3);
  expect(onEvent).toHaveBeenCalledTimes(1);
});

it('handlers run one at a time, and an error stops nothing', async () => {
  const reported = vi.spyOn(console, 'error').mockReturnValue();
  vi.stubGlobal('reportError', undefined);
  const calls: string[] = [];
  const onEvent = async ({ position }: RealtimeEvent) => {
    calls.push(`begin ${position!.offset}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
    calls.push(`end ${position!.offset}`);
    if (position!.offset === 1) throw new Error('mine');
  };
  await live({ onEvent });
  FakeSocket.last.push(1);
  FakeSocket.last.push(2);
  await settle(100);
  expect(calls).toEqual(['begin 1', 'end 1', 'begin 2', 'end 2']);
  expect(reported).toHaveBeenCalledTimes(1);
});

it('events wait for the snapshot, which replaces its own events', async () => {
  const calls: unknown[] = [];
  bridge.answers.latest = () => ({
    channel: CHANNEL,
    events: [eventFrame(2, { key: 'a' })],
    position: { epoch: 'aaaaaaaa', offset: 2, id: 'e2' },
    more: false,
  });
  await live({
    onSnapshot: ({ events }) => void calls.push(events.map(({ data }) => data)),
    onEvent: ({ position }) => void calls.push(position!.offset),
  });
  for (const offset of [1, 2, 3]) FakeSocket.last.push(offset);
  await settle();
  expect(calls).toEqual([[{ offset: 2 }], 3]);
});

it('failed snapshot is retried while events wait', async () => {
  const calls: unknown[] = [];
  bridge.answers.latest = 503;
  await live({ onSnapshot: () => void calls.push('snapshot'), onEvent: () => void calls.push('event') });
  FakeSocket.last.push(1);
  await settle();
  expect(calls).toEqual([]);
  bridge.answers.latest = { events: [], position: { epoch: 'aaaaaaaa', offset: 0 }, more: false };
  await settle(2_000);
  expect(calls).toEqual(['snapshot', 'event']);
});

it('pages of a snapshot are joined by key', async () => {
  const pages = [
    { events: [eventFrame(1, { key: 'a' }), eventFrame(2, { key: 'b' })], more: true },
    { events: [eventFrame(5, { key: 'a' })], more: false },
  ];
  bridge.answers.latest = () => ({ ...pages.shift(), position: { epoch: 'aaaaaaaa', offset: 5, id: 'e5' } });
  const onSnapshot = vi.fn();
  await live({ onSnapshot });
  expect(onSnapshot.mock.calls[0]![0].events.map(({ id }: RealtimeEvent) => id)).toEqual(['e2', 'e5']);
});

it('reset is delivered before later events', async () => {
  const calls: unknown[] = [];
  await live({
    onReset: ({ reason }) => void calls.push(reason),
    onEvent: ({ id }) => void calls.push(id),
  });
  const socket = FakeSocket.last;
  socket.receive({ type: 'reset', channel: CHANNEL, reason: 'truncated', epoch: 'aaaaaaaa', offset: 7, id: 'e7' });
  socket.push(8);
  expect(calls).toEqual(['truncated', 'e8']);
});

it('reset for an outdated position is requested again', async () => {
  const onReset = vi.fn();
  await live({ onReset });
  const old = FakeSocket.last;
  const top = { epoch: 'aaaaaaaa', offset: 9, id: 'e9' };
  bridge.answers.poll = () => {
    old.push(1);
    return { channels: { [CHANNEL]: { reset: 'truncated', position: top } } };
  };
  client.refresh();
  await settle();
  expect(onReset).not.toHaveBeenCalled();
  expect(old.requested('subscribe').at(-1)!.position).toMatchObject({ offset: 1 });
});

it('own events are not delivered', async () => {
  const offsets = await live();
  FakeSocket.last.push(1, { source: client.id });
  FakeSocket.last.push(2, { source: 'c_other' });
  expect(offsets).toEqual([2]);
});

it('denied credentials are renewed once by the token function', async () => {
  const token = vi.fn().mockReturnValue('mine');
  bridge.answers.connect = 403;
  create({ token }).start();
  await settle(1_000);
  expect(token).toHaveBeenCalledTimes(2);
  expect(client.state.get()).toMatchObject({ kind: 'error', mode: 'DENIED' });
  bridge.answers.connect = DESCRIPTOR;
  client.retry();
  await settle();
  expect(FakeSocket.opened).toHaveLength(1);
});

const HTML = '<html>blocked</html>';
const PAGE = { events: [], position: { epoch: 'aaaaaaaa', offset: 0 }, more: false };

it.each([
  ['a 404 of a missing route', new Response(HTML, { status: 404 })],
  ['a 400', new Response(HTML, { status: 400 })],
  ['a 401 of the bridge', 401],
  ['a 403 of a proxy', new Response(HTML, { status: 403 })],
  ['HTML with 200', new Response(HTML)],
])('snapshot is requested again after %s, and missing meanwhile', async (_, answer) => {
  bridge.answers.latest = answer;
  const onSnapshot = vi.fn();
  const failures: Telemetry[] = [];
  await live({ onSnapshot }, { onTelemetry: (entry) => void (entry.type === 'failure' && failures.push(entry)) });
  expect(client.state.get().kind).not.toBe('realtime');
  expect(failures[0]).toMatchObject({ request: 'latest', reason: expect.stringMatching(/./) as string });
  expect(client.channel(CHANNEL).get().phase).toBe('syncing');
  await settle(6_000);
  expect(client.state.get()).toMatchObject({ kind: 'delayed', mode: 'LIVE', reason: 'missing data is being read' });
  expect(bridge.requested('poll')).toEqual([]);
  bridge.answers.latest = PAGE;
  await settle(20_000);
  expect(onSnapshot).toHaveBeenCalledOnce();
  expect(client.channel(CHANNEL).get().phase).toBe('current');
  expect(client.state.get().kind).toBe('realtime');
});

it.each([['no_log', 404], ['no_owners', 501]])('snapshot that a bridge refuses with %s is not requested again', async (code, status) => {
  vi.spyOn(console, 'error').mockReturnValue();
  bridge.answers.latest = Response.json({ error: { code, message: 'no' } }, { status });
  await live({ onSnapshot: vi.fn() });
  await settle(10_000);
  expect(bridge.requests.filter(({ route }) => route === 'latest')).toHaveLength(1);
  expect(client.state.get().kind).toBe('realtime');
});

it('answers of a proxy never end the client', async () => {
  for (const status of [400, 401, 403, 404, 413, 502]) {
    bridge.answers.connect = bridge.answers.poll = new Response(HTML, { status });
    create().start();
    client.subscribe(CHANNEL, {});
    await settle(120_000);
    expect(client.state.get()).toMatchObject({ kind: 'offline', mode: 'BOOT' });
    bridge.answers.connect = DESCRIPTOR;
    await settle(15_000);
    expect(client.state.get().mode).not.toBe('BOOT');
    client.stop();
  }
});

it('denied client connects again when its window gets the focus', async () => {
  const page = Object.assign(new EventTarget(), { document: new EventTarget() });
  vi.stubGlobal('window', page);
  vi.stubGlobal('document', page.document);
  bridge.answers.connect = 401;
  create().start();
  await settle(60_000);
  expect(client.state.get()).toMatchObject({ kind: 'error', mode: 'DENIED' });
  bridge.answers.connect = DESCRIPTOR;
  page.dispatchEvent(new Event('focus'));
  await settle();
  expect(FakeSocket.opened).toHaveLength(1);
});

it('connection whose server is cut off is not Real-time, whatever polls report', async () => {
  await live();
  const health = { offsets: {}, generation: 0, backend: 'ok' };
  FakeSocket.last.receive({ type: 'heartbeat', ...health, log: 'down' });
  for (let second = 0; second < 60; second += 5) {
    await settle(5_000);
    FakeSocket.last.receive({ type: 'heartbeat', ...health, log: 'down' });
    expect(client.state.get()).toMatchObject({ kind: 'polling', mode: 'LIVE' });
    expect(client.state.get().reason).toContain('log');
  }
  FakeSocket.last.receive({ type: 'heartbeat', ...health, log: 'ok' });
  expect(client.state.get().kind).toBe('realtime');
});

it('recovery without an answer is completed by polls, and the socket is replaced', async () => {
  const offsets = await live();
  FakeSocket.last.push(2);
  bridge.answers.poll = {
    channels: { [CHANNEL]: { events: [eventFrame(1)], position: { epoch: 'aaaaaaaa', offset: 1, id: 'e1' }, more: false } },
    next_ms: null,
    generation: 0,
  };
  await settle(6_000);
  expect(offsets).toEqual([1, 2]);
  expect(client.state.get().kind).not.toBe('realtime');
  await settle(10_000);
  expect(FakeSocket.opened).toHaveLength(2);
});

it('status is offline after 30 s without a server', async () => {
  bridge.answers.connect = new TypeError('network');
  bridge.answers.poll = new TypeError('network');
  create().start();
  await settle(1_000);
  expect(client.state.get().label).toBe('');
  await settle(1_000);
  expect(client.state.get().kind).toBe('connecting');
  await settle(30_000);
  expect(client.state.get()).toMatchObject({ kind: 'offline', label: 'Offline' });
  bridge.answers.connect = DESCRIPTOR;
  await settle(20_000);
  expect(FakeSocket.opened.length).toBeGreaterThan(0);
});

it.each(['auto', 'websocket', 'sse'] as const)('client polls while its transport fails: %s', async (transport) => {
  bridge.answers.sse = new Response(HTML, { status: 404 });
  create({ transport }).start();
  client.subscribe(CHANNEL, {});
  await settle(30_000);
  expect(client.state.get()).toMatchObject({ kind: 'polling', transport: 'poll' });
});

it('polling mode of the server opens no socket', async () => {
  bridge.answers.connect = { ...DESCRIPTOR, mode: 'polling' };
  create().start();
  await settle(1_000);
  expect(FakeSocket.opened).toEqual([]);
  expect(client.state.get()).toMatchObject({ kind: 'polling', transport: 'poll' });
});

it('polls follow the option, or the longer wait of the server', async () => {
  create({ transport: 'poll', pollingInterval: 2_000 }).start();
  await settle(6_100);
  expect(bridge.requested('poll')).toHaveLength(4);
  bridge.answers.poll = { channels: {}, next_ms: 60_000 };
  await settle(60_000);
  expect(bridge.requested('poll')).toHaveLength(5);
});

it('poll is aborted after 10 s', async () => {
  bridge.answers.poll = () => new Promise(() => {});
  create({ transport: 'poll' }).start();
  await settle(9_999);
  expect(bridge.requests.at(-1)!.signal.aborted).toBe(false);
  await settle(1);
  expect(bridge.requests.find(({ route }) => route === 'poll')!.signal.aborted).toBe(true);
});

it('clock jump leads to a ping and a poll', async () => {
  await live();
  vi.setSystemTime(Date.now() + 60_000);
  await settle(2_500);
  expect(FakeSocket.last.requested('ping')).toHaveLength(1);
  expect(bridge.requested('poll')).toHaveLength(1);
});

it('stopped client holds nothing and resumes on start', async () => {
  await live();
  FakeSocket.last.push(1);
  client.stop();
  expect(FakeSocket.last.closedWith).toBe(1000);
  expect(vi.getTimerCount()).toBe(0);
  expect(client.state.get()).toMatchObject({ kind: 'paused', mode: 'STOPPED' });
  client.start();
  await settle();
  FakeSocket.last.live({ epoch: 'aaaaaaaa', offset: 1, id: 'e1' });
  expect(FakeSocket.last.requested('subscribe')[0]!.position).toMatchObject({ offset: 1 });
});

it('telemetry contains no payload and no token', async () => {
  const entries: Telemetry[] = [];
  await live({}, { onTelemetry: (entry) => entries.push(entry) });
  FakeSocket.last.push(1, { time: Date.now() - 30, data: { secret: 'payload' } });
  FakeSocket.last.push(3);
  FakeSocket.last.answer(CHANNEL, { epoch: 'aaaaaaaa', offset: 3, id: 'e3' }, [eventFrame(2), eventFrame(3)]);
  FakeSocket.last.receive({ type: 'reset', channel: CHANNEL, reason: 'epoch', epoch: 'bbbbbbbb', offset: 0 });
  expect(new Set(entries.map(({ type }) => type))).toEqual(
    new Set(['transition', 'delivery', 'gap', 'recovery', 'reset']),
  );
  expect(entries.find(({ type }) => type === 'delivery')).toMatchObject({ delay: 30 });
  expect(JSON.stringify(entries)).not.toMatch(/payload|token-1/);
});

it('stored descriptor serves without its token', async () => {
  const stored = new Map<string, string>();
  vi.stubGlobal('sessionStorage', {
    getItem: (key: string) => stored.get(key) ?? null,
    setItem: (key: string, value: string) => stored.set(key, value),
  });
  await live();
  client.stop();
  expect([...stored.values()].join()).not.toContain('token-1');
  bridge.answers.connect = 503;
  create().start();
  await settle(1_000);
  expect(client.state.get().mode).toBe('FALLBACK');
  expect(bridge.requested('poll').length).toBeGreaterThan(0);
  bridge.answers.connect = DESCRIPTOR;
  await settle(10_000);
  expect(FakeSocket.last.requested('connect')).toBeDefined();
});
