/** Client with a real server behind a proxy that fails on command. */

import { afterEach, beforeAll, beforeEach, expect, it } from 'vitest';
import { WebSocket as NodeWebSocket } from 'ws';
import { HybridClient, HybridUpdates } from '../src/index.js';
import type { ClientOptions, Snapshot } from '../src/index.js';
import { Journal, when, whenCurrent, whenKind } from './support/journal.js';
import { Proxy } from './support/proxy.js';
import { ANOTHER_SECRET, SLOW_CLOCK, Server, token } from './support/server.js';

const CHANNEL = 'user-42';
const OPTIONS = { reconnectInterval: 300, pollingInterval: 200 };

let server: Server;
let proxy: Proxy;
let credentials: string;
let clients: HybridClient[] = [];

beforeAll(() => {
  globalThis.WebSocket ??= NodeWebSocket as unknown as typeof WebSocket;
  credentials = token('42');
});

beforeEach(async () => {
  server = await Server.start();
  proxy = await Proxy.start(server.port);
});

afterEach(async () => {
  for (const client of clients) client.stop();
  clients = [];
  proxy.stop();
  await server.stop();
});

function connected(options: ClientOptions = {}): HybridClient {
  const client = new HybridClient({ endpoint: proxy.url, token: credentials, ...OPTIONS, ...options });
  clients.push(client);
  client.start();
  return client;
}

it('events arrive in order by WebSocket', async () => {
  const client = connected();
  const journal = new Journal();
  client.subscribe(CHANNEL, journal);
  const state = await whenKind(client, 'realtime');
  expect(state).toMatchObject({ updateSource: 'websocket', transport: 'websocket', user: '42' });
  await server.publish(CHANNEL, 1, 2, 3);
  expect(await journal.until(3)).toEqual([1, 2, 3]);
});

it('cut socket falls back to polling without a loss', async () => {
  const client = connected();
  const journal = new Journal();
  client.subscribe(CHANNEL, journal);
  await whenKind(client, 'realtime');
  proxy.refusesSockets = true;
  proxy.cut();
  await whenKind(client, 'polling');
  await server.publish(CHANNEL, 1, 2);
  expect(await journal.until(2)).toEqual([1, 2]);
  expect(client.state.get()).toMatchObject({ updateSource: 'polling', transport: 'poll' });
  proxy.refusesSockets = false;
  client.retry();
  await whenKind(client, 'realtime');
  await server.publish(CHANNEL, 3);
  expect(await journal.until(3)).toEqual([1, 2, 3]);
});

it('events published during an outage arrive once', async () => {
  const client = connected();
  const journal = new Journal();
  client.subscribe(CHANNEL, journal);
  await whenKind(client, 'realtime');
  proxy.down = true;
  proxy.cut();
  await when(client.state, ({ mode }) => mode !== 'LIVE');
  const numbers = Array.from({ length: 400 }, (_, number) => number);
  await server.publish(CHANNEL, ...numbers);
  proxy.down = false;
  expect(await journal.until(400)).toEqual(numbers);
});

it('restarted server with a new log leads to a reset', async () => {
  const client = connected();
  const journal = new Journal();
  client.subscribe(CHANNEL, journal);
  await whenKind(client, 'realtime');
  await server.publish(CHANNEL, 1);
  await journal.until(1);
  const { port } = server;
  await server.stop();
  server = await Server.start(port);
  await journal.until(2);
  await whenKind(client, 'realtime');
  await server.publish(CHANNEL, 2);
  expect(await journal.until(3)).toEqual([1, 'reset epoch', 2]);
});

it.each(['sse', 'poll'] as const)('events arrive in order by %s', async (transport) => {
  const client = connected({ transport });
  const journal = new Journal();
  client.subscribe(CHANNEL, journal);
  await whenCurrent(client, CHANNEL);
  if (transport === 'sse') expect(await whenKind(client, 'realtime')).toMatchObject({ transport });
  await server.publish(CHANNEL, 1, 2, 3);
  await journal.until(3);
  await server.publish(CHANNEL, 4);
  expect(await journal.until(4)).toEqual([1, 2, 3, 4]);
});

it('cut SSE stream reconnects', async () => {
  const client = connected({ transport: 'sse' });
  const journal = new Journal();
  client.subscribe(CHANNEL, journal);
  await whenKind(client, 'realtime');
  await server.publish(CHANNEL, 1);
  await journal.until(1);
  proxy.cut();
  await server.publish(CHANNEL, 2);
  expect(await journal.until(2)).toEqual([1, 2]);
  await when(client.state, ({ mode }) => mode === 'LIVE');
});

it('later subscription is added to the SSE stream', async () => {
  const client = connected({ transport: 'sse', token: () => credentials });
  await when(client.state, ({ mode }) => mode === 'LIVE');
  const journal = new Journal();
  client.subscribe(CHANNEL, journal);
  await whenCurrent(client, CHANNEL);
  await server.publish(CHANNEL, 1);
  expect(await journal.until(1)).toEqual([1]);
});

it('denied channel does not affect the others', async () => {
  const client = connected();
  const refused = new Journal();
  const journal = new Journal();
  client.subscribe('user-43', refused);
  client.subscribe(CHANNEL, journal);
  await whenKind(client, 'realtime');
  expect(refused.entries).toEqual(['denied']);
  expect(client.channel('user-43').get().error).toContain('may not listen');
  await server.publish(CHANNEL, 1);
  expect(await journal.until(1)).toEqual([1]);
});

it('snapshot is delivered before later events', async () => {
  await server.publish(CHANNEL, 1, 2);
  const client = connected();
  const journal = new Journal();
  const snapshots: Snapshot[] = [];
  const loaded = new Promise<void>((resolve) => {
    const onSnapshot = (snapshot: Snapshot) => {
      snapshots.push(snapshot);
      resolve();
    };
    client.subscribe(CHANNEL, { onEvent: journal.onEvent, onSnapshot });
  });
  await loaded;
  await server.publish(CHANNEL, 3);
  expect(await journal.until(1)).toEqual([3]);
  expect(snapshots.map(({ events }) => events.map(({ data }) => data))).toEqual([[{ percent: 2 }]]);
});

it('invalid token is retried at first, with a reason', async () => {
  const client = connected({ token: 'nonsense' });
  const state = await whenKind(client, 'connecting');
  expect(state.mode).toBe('BOOT');
  expect(state.reason).toContain('401');
});

it.each([
  ['rotated secret', { REALTIME_SECRET: ANOTHER_SECRET }, 'it is signed with another secret'],
  ['slow clock', SLOW_CLOCK, 'it is not valid yet, because two clocks differ'],
])('client is current again within 30 s of the end of a %s', async (_, fault, cause) => {
  const rotated = 'REALTIME_SECRET' in fault;
  let secret: string | undefined;
  const client = connected({ token: () => token('42', secret) });
  const journal = new Journal();
  client.subscribe(CHANNEL, journal);
  await whenKind(client, 'realtime');
  await server.stop();
  server = await Server.start(server.port, fault);
  await when(client.state, ({ reason }) => reason === `the server refuses the token: ${cause}`);
  await server.stop();
  secret = rotated ? ANOTHER_SECRET : undefined;
  server = await Server.start(server.port, rotated ? fault : {});
  const end = performance.now();
  await whenKind(client, 'realtime');
  expect(performance.now() - end).toBeLessThan(30_000);
  const { length } = journal.entries;
  await server.publish(CHANNEL, 7);
  expect((await journal.until(length + 1)).slice(length)).toEqual([7]);
}, 90_000);

it('own events are not delivered', async () => {
  const client = connected();
  const journal = new Journal();
  client.subscribe(CHANNEL, journal);
  await whenKind(client, 'realtime');
  await server.publishAs(client.state.get().client, CHANNEL, 1);
  await server.publish(CHANNEL, 2);
  expect(await journal.until(1)).toEqual([2]);
});

it('HybridUpdates fetches once at the start and once per burst', async () => {
  let calls = 0;
  const updates = new HybridUpdates(() => (calls += 1), 42, { endpoint: proxy.url, token: credentials });
  updates.start();
  try {
    await when(updates.state, ({ websocketStatus, data }) => websocketStatus === 'connected' && data !== null);
    expect(calls).toBe(1);
    await server.publish(CHANNEL, 1, 2, 3);
    await when(updates.state, ({ data }) => data === 2);
  } finally {
    updates.stop();
  }
});
