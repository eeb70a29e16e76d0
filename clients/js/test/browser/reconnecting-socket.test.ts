/** WebSocket to any server. */

import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { ReconnectingSocket } from '../../src/index.js';
import type { SocketOptions } from '../../src/index.js';
import { FakeSocket, settle } from '../support/bridge.js';

let socket: ReconnectingSocket;

beforeEach(() => {
  vi.useFakeTimers();
  vi.spyOn(Math, 'random').mockReturnValue(0.5);
  FakeSocket.opened = [];
  vi.stubGlobal('WebSocket', FakeSocket);
});

afterEach(() => {
  socket.close();
  vi.useRealTimers();
  vi.unstubAllGlobals();
  vi.restoreAllMocks();
});

function open(options: SocketOptions = {}): FakeSocket {
  socket = new ReconnectingSocket('ws://any.test', options);
  socket.start();
  FakeSocket.last.open();
  return FakeSocket.last;
}

it('onMessage gets every message, the state the last one', () => {
  const data: unknown[] = [];
  const fake = open({ onMessage: (message) => data.push(message.data) });
  fake.receive({ n: 1 });
  fake.receive({ n: 2 });
  expect(data).toEqual(['{"n":1}', '{"n":2}']);
  expect(socket.state.get()).toMatchObject({ status: 'connected', lastMessage: { data: '{"n":2}' } });
});

it('objects are sent as JSON, and nothing on a closed socket', () => {
  const fake = open();
  expect(socket.send({ a: 1 })).toBe(true);
  expect(socket.send('"text"')).toBe(true);
  expect(fake.sent).toEqual([{ a: 1 }, 'text']);
  fake.end();
  expect(socket.send({})).toBe(false);
});

it('reconnects end after the limit until reconnect()', async () => {
  open({ maxReconnectAttempts: 2 }).end();
  expect(socket.state.get()).toMatchObject({ status: 'disconnected', attempts: 1 });
  await settle(1_500);
  FakeSocket.last.end();
  await settle(3_000);
  FakeSocket.last.end();
  await settle(60_000);
  expect(FakeSocket.opened).toHaveLength(3);
  socket.reconnect();
  FakeSocket.last.open();
  expect(socket.state.get()).toMatchObject({ status: 'connected', attempts: 0 });
});

it('idle socket sends a heartbeat', async () => {
  const fake = open({ heartbeatInterval: 1_000, heartbeatMessage: '"beat"' });
  await settle(2_000);
  expect(fake.sent).toEqual(['beat', 'beat']);
});

it('closed socket stays closed and holds no timer', async () => {
  const fake = open();
  socket.close();
  expect(fake.closedWith).toBe(1000);
  expect(vi.getTimerCount()).toBe(0);
  expect(socket.state.get().status).toBe('disconnected');
});

it('a server that accepts and closes at once counts as a failure each time', async () => {
  open({ maxReconnectAttempts: 2 });
  for (let failures = 1; failures <= 3; failures += 1) {
    FakeSocket.last.end();
    expect(socket.state.get().attempts).toBe(failures);
    await settle(60_000);
    if (failures < 3) FakeSocket.last.open();
  }
  expect(FakeSocket.opened).toHaveLength(3);
});

it('ten seconds of a connection end the count', async () => {
  open().end();
  await settle(3_000);
  FakeSocket.last.open();
  expect(socket.state.get().attempts).toBe(1);
  await settle(10_000);
  expect(socket.state.get().attempts).toBe(0);
});

it('the return of the network revives a socket that was given up', async () => {
  const page = new EventTarget();
  vi.stubGlobal('window', page);
  vi.stubGlobal('document', Object.assign(new EventTarget(), { visibilityState: 'visible' }));
  open({ maxReconnectAttempts: 0 }).end();
  await settle(60_000);
  expect(FakeSocket.opened).toHaveLength(1);
  page.dispatchEvent(new Event('online'));
  expect(FakeSocket.opened).toHaveLength(2);
  socket.close();
  page.dispatchEvent(new Event('online'));
  expect(FakeSocket.opened).toHaveLength(2);
});

it.each([0, Infinity, false, 2 ** 31, NaN, '1'])('heartbeatInterval %s sends no flood', async (heartbeatInterval) => {
  vi.spyOn(console, 'warn').mockReturnValue();
  const fake = open({ heartbeatInterval: heartbeatInterval as number });
  await settle(29_000);
  expect(fake.sent).toEqual([]);
});
