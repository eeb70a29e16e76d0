/** Streams from a real server, behind a proxy that fails on command. */

import { afterEach, beforeAll, beforeEach, expect, it } from 'vitest';
import { WebSocket as NodeWebSocket } from 'ws';
import { HybridClient } from '../../src/index.js';
import type { ClientOptions, Stream, StreamState } from '../../src/index.js';
import { when, whenKind } from '../support/journal.js';
import { Proxy } from '../support/proxy.js';
import { Server, token } from '../support/server.js';
import { StreamWriter } from '../support/stream-writer.js';

const CHANNEL = 'user-42';

let server: Server;
let proxy: Proxy;
let credentials: string;
let clients: HybridClient[] = [];
let writer: StreamWriter;
let count = 0;

beforeAll(async () => {
  globalThis.WebSocket ??= NodeWebSocket as unknown as typeof WebSocket;
  credentials = token('42');
  server = await Server.start(0, { REALTIME_HISTORY_EVENTS: '50' });
  return () => server.stop();
});

beforeEach(async () => {
  proxy = await Proxy.start(server.port);
  count += 1;
  writer = new StreamWriter(server, CHANNEL, `m${count}`);
});

afterEach(() => {
  for (const client of clients) client.stop();
  clients = [];
  proxy.stop();
});

/** Connect a page, and watch the writer's stream in it; with `id` null, the newest stream. */
function open(options: ClientOptions = {}, id: string | null = writer.id): { client: HybridClient; stream: Stream } {
  const endpoint = proxy.url;
  const client = new HybridClient({ endpoint, token: credentials, reconnectInterval: 300, pollingInterval: 250, ...options });
  clients.push(client);
  client.start();
  const stream = client.stream(CHANNEL, id);
  stream.state.subscribe(() => {});
  return { client, stream };
}

/** Wait until a page shows all items of the writer. */
async function whole({ state }: Stream, writer: StreamWriter): Promise<StreamState> {
  const shown = await when(state, ({ items, attempt }) => items.length >= writer.items.length && attempt !== null);
  expect(shown.text).toBe(writer.text);
  expect(shown.trimmed).toBe(false);
  return shown;
}

it.each(['websocket', 'sse', 'poll'] as const)('stream is whole by %s, through a cut and for a page that loads in the middle', async (transport) => {
  const { client, stream } = open({ transport });
  await when(stream.state, ({ phase }) => phase === 'current');
  expect(stream.state.get().state).toBe('unknown');
  if (transport !== 'poll') await whenKind(client, 'realtime');
  await writer.start();
  await writer.append(10);
  await whole(stream, writer);
  proxy.cut();
  await writer.append(10);
  const later = open({ transport }, null).stream;
  await writer.append(10);
  await Promise.all([stream, later].map((one) => whole(one, writer)));
  await writer.end();
  for (const { state } of [stream, later]) {
    expect(await when(state, ({ state }) => state === 'completed')).toMatchObject({ id: writer.id, text: writer.text });
  }
});

it('stream goes on by polls while sockets are refused, and back', async () => {
  const { client, stream } = open();
  await whenKind(client, 'realtime');
  await writer.start();
  await writer.append(5);
  await whole(stream, writer);
  proxy.refusesSockets = true;
  proxy.cut();
  await whenKind(client, 'polling');
  await writer.append(5);
  await whole(stream, writer);
  proxy.refusesSockets = false;
  client.retry();
  await whenKind(client, 'realtime');
  await writer.append(5);
  await whole(stream, writer);
});

it('page behind the history loads the stream, and shows it meanwhile', async () => {
  const { client, stream } = open();
  await whenKind(client, 'realtime');
  await writer.start();
  await writer.append(5);
  await whole(stream, writer);
  const texts: string[] = [];
  stream.state.subscribe(() => texts.push(stream.state.get().text));
  proxy.down = true;
  proxy.cut();
  await when(client.state, ({ mode }) => mode !== 'LIVE');
  const before = stream.state.get().text;
  await writer.append(60);
  proxy.down = false;
  await whole(stream, writer);
  expect(texts.every((text) => text.startsWith(before))).toBe(true);
});

it('retried task begins again without the old items', async () => {
  const { stream } = open();
  await writer.start();
  await writer.append(3);
  await whole(stream, writer);
  const retry = new StreamWriter(server, CHANNEL, writer.id, 'second');
  await retry.start();
  await retry.append(1);
  const shown = await when(stream.state, ({ attempt, items }) => attempt === 'second' && items.length > 0);
  expect(shown.text).toBe(retry.text);
});

it('stop ends the stream for all pages, and once more changes nothing', async () => {
  const [one, other] = [open().stream, open().stream];
  await expect(one.stop()).rejects.toMatchObject({ status: 404 });
  await writer.start();
  await writer.append(1);
  await Promise.all([one, other].map((page) => whole(page, writer)));
  await one.stop();
  for (const { state } of [one, other]) {
    expect(await when(state, (shown) => shown.state === 'stopped')).toMatchObject({ text: writer.text, error: null });
  }
  await other.stop();
});

it('stop of a superseded attempt leaves the new one', async () => {
  const { client, stream } = open();
  await writer.start();
  await when(stream.state, ({ state }) => state === 'open');
  await expect(client.stopStream(CHANNEL, writer.id, 'another')).rejects.toMatchObject({ status: 409, code: 'superseded' });
  await expect(client.stopStream('user-43', writer.id)).rejects.toMatchObject({ status: 403 });
  await writer.append(1);
  expect(await whole(stream, writer)).toMatchObject({ state: 'open' });
});

it('restarted server that lost the stream leaves it shown, until it is written again', async () => {
  const { client, stream } = open();
  await whenKind(client, 'realtime');
  await writer.start();
  await writer.append(3);
  await whole(stream, writer);
  const { port } = server;
  await server.stop();
  server = await Server.start(port);
  await when(client.state, ({ mode }) => mode !== 'LIVE');
  await whenKind(client, 'realtime');
  await when(stream.state, ({ phase }) => phase === 'current');
  expect(stream.state.get().text).toBe(writer.text);
  const refill = new StreamWriter(server, CHANNEL, writer.id);
  await refill.start();
  await refill.append(5);
  await whole(stream, refill);
});
