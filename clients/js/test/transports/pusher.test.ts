/** Provider Pusher with pusher-js and a local WebSocket server. */

import { createServer } from 'node:http';
import type { IncomingMessage, Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { WebSocketServer } from 'ws';
import type { WebSocket } from 'ws';
import { request } from '../../src/http/request.js';
import { openPusher } from '../../src/transports/hosted/pusher.js';
import type { Provider, ProviderHandlers } from '../../src/transports/hosted/provider.js';

/** Requests after which a loop of pusher-js has connected again several times. */
const ROUNDS = 20;

const ESTABLISHED = { socket_id: '1.2', activity_timeout: 120 };

let http: Server;
let server: WebSocketServer;
let provider: Provider | null;
let entries: unknown[];
let waiting: (() => void)[];
let requests: { token: unknown; body: string }[];
let permission: number;
/** True if a proxy answers in place of the bridge. */
let isProxy: boolean;

function note(entry: unknown): void {
  entries.push(entry);
  for (const wake of waiting.splice(0)) wake();
}

async function until(count: number): Promise<unknown[]> {
  while (entries.length < count) await new Promise<void>((resolve) => waiting.push(resolve));
  return entries;
}

const handlers: ProviderHandlers = {
  connected: () => note('connected'),
  lost: (reason) => note(reason),
  alive: () => {},
  subscribed: (channel) => note(`subscribed ${channel}`),
  refused: (channel, status) => note(`refused ${channel} ${status}`),
  received: (frame) => note(frame),
  members: (channel, members) => note([channel, members]),
  changed: (channel, { user, info }, isPresent) => note([channel, user, info, isPresent]),
};

function sendEvent(socket: WebSocket, event: string, data: object, channel?: string): void {
  socket.send(JSON.stringify({ event, channel, data: JSON.stringify(data) }));
}

/** Handler of the provider for each socket. */
let serve: (socket: WebSocket) => void;

async function open(): Promise<void> {
  const { port } = http.address() as AddressInfo;
  provider = await openPusher(
    {
      options: { key: 'k', cluster: null, host: '127.0.0.1', port, tls: false, channel_prefix: 'private-app.' },
      authURL: `http://127.0.0.1:${port}/auth`,
      request,
      token: () => 'token-1',
      channels: () => [],
      tokenBatchDelay: 5,
    },
    handlers,
  );
}

async function authorize(request: IncomingMessage): Promise<string> {
  let body = '';
  for await (const chunk of request) body += chunk;
  requests.push({ token: request.headers['realtime-token'], body });
  return body;
}

function permissionOf(name: string): object {
  return { auth: 'k:signed', ...(name.startsWith('presence-') && { channel_data: '{"user_id":"ada"}' }) };
}

/** Answer an authorization request as the bridge: it denies `denied`, and the rule of `broken` fails. */
function answer(body: string): string {
  const names = String(JSON.parse(body).channel_names).split(' ');
  const allowed = names.filter((name) => !/denied|broken/.test(name));
  return JSON.stringify({
    channels: Object.fromEntries(allowed.map((name) => [name, permissionOf(name)])),
    failed: names.filter((name) => name.includes('broken')),
    user: { auth: 'k:user', user_data: '{"id":"42"}' },
    error: { code: 'refused', message: 'no' },
  });
}

beforeEach(async () => {
  [entries, waiting, requests, permission, isProxy, provider] = [[], [], [], 200, false, null];
  http = createServer((request, response) => {
    if (request.method === 'GET') return void response.end();
    void authorize(request).then((body) => {
      const type = isProxy ? 'text/html' : 'application/json';
      response.writeHead(permission, { 'content-type': type }).end(isProxy ? '<html>blocked</html>' : answer(body));
    });
  });
  server = new WebSocketServer({ server: http });
  server.on('connection', (socket) => serve(socket));
  serve = (socket) => sendEvent(socket, 'pusher:connection_established', ESTABLISHED);
  await new Promise<void>((resolve) => void http.listen(0, '127.0.0.1', resolve));
});

afterEach(() => {
  provider?.close();
  for (const socket of server.clients) socket.terminate();
  http.closeAllConnections();
  http.close();
});

it('requests authorization from the bridge with our token', async () => {
  serve = (socket) => {
    sendEvent(socket, 'pusher:connection_established', ESTABLISHED);
    socket.on('message', (text) => {
      const { event, data } = JSON.parse(String(text));
      if (event === 'pusher:subscribe') note(data);
      if (event !== 'pusher:subscribe') return;
      sendEvent(socket, 'pusher_internal:subscription_succeeded', {}, data.channel);
      sendEvent(socket, 'realtime', { type: 'event', data: 'text' }, data.channel);
    });
  };
  await open();
  await until(1);
  provider?.subscribe('job.7');
  expect(await until(4)).toEqual([
    'connected',
    { auth: 'k:signed', channel: 'private-app.job.7' },
    'subscribed job.7',
    { type: 'event', data: 'text' },
  ]);
  expect(requests).toEqual([
    { token: 'token-1', body: JSON.stringify({ socket_id: '1.2', channel_names: 'private-app.job.7' }) },
  ]);
});

it('passes on the members of the presence channel beside a channel', async () => {
  const [name, channel] = ['@realtime.presence.job.7', 'presence-app.job.7'];
  serve = (socket) => {
    sendEvent(socket, 'pusher:connection_established', ESTABLISHED);
    socket.on('message', (text) => {
      const { event, data } = JSON.parse(String(text));
      if (event !== 'pusher:subscribe') return;
      const hash = { ada: { name: 'Ada' }, bob: null };
      const presence = { ids: ['ada', 'bob'], hash, count: 2 };
      sendEvent(socket, 'pusher_internal:subscription_succeeded', { presence }, data.channel);
      socket.send(JSON.stringify({ event: 'pusher_internal:member_added', channel: data.channel, data: '{"user_id":"__proto__"}' }));
      sendEvent(socket, 'pusher_internal:member_added', { user_id: 'cyd', user_info: {} }, data.channel);
      sendEvent(socket, 'pusher_internal:member_removed', { user_id: 'bob' }, data.channel);
    });
  };
  await open();
  await until(1);
  provider?.subscribe(name);
  expect((await until(4)).slice(1)).toEqual([
    [name, [{ key: 'ada', user: 'ada', info: { name: 'Ada' } }, { key: 'bob', user: 'bob', info: null }]],
    [name, 'cyd', {}, true],
    [name, 'bob', null, false],
  ]);
  expect(requests[0]?.body).toContain(channel);
});

it('a presence channel without room is refused for good', async () => {
  serve = (socket) => {
    sendEvent(socket, 'pusher:connection_established', ESTABLISHED);
    socket.on('message', (text) => {
      const { event, data: { channel } } = JSON.parse(String(text));
      const full = { type: 'LimitReached', error: 'full', status: 4004 };
      if (event === 'pusher:subscribe') sendEvent(socket, 'pusher:subscription_error', full, channel);
    });
  };
  await open();
  await until(1);
  provider?.subscribe('@realtime.presence.job.7');
  expect(await until(2)).toContain('refused @realtime.presence.job.7 400');
});

/** Answer each subscription, and note what the client sends. */
function answerAll(socket: WebSocket): void {
  sendEvent(socket, 'pusher:connection_established', ESTABLISHED);
  socket.on('message', (text) => {
    const { event, data } = JSON.parse(String(text));
    if (event === 'pusher:subscribe') sendEvent(socket, 'pusher_internal:subscription_succeeded', {}, data.channel);
    if (event === 'pusher:signin') note(data);
  });
}

it('requests the authorization of many channels at once, and each has its own answer', async () => {
  serve = answerAll;
  await open();
  await until(1);
  const names = Array.from({ length: 60 }, (_, index) => `job.${index}`);
  for (const name of [...names, 'denied', 'broken']) provider?.subscribe(name);
  const answers = (await until(64)).slice(1).filter((entry) => typeof entry === 'string');
  expect(answers.sort()).toEqual([
    'refused broken 500',
    'refused denied 403',
    ...names.map((name) => `subscribed ${name}`).sort(),
  ]);
  expect(requests).toHaveLength(1);
});

it('signs the user in, so that the provider can end the connection', async () => {
  serve = answerAll;
  await open();
  await until(1);
  provider?.subscribe('job.7');
  const entries = await until(3);
  expect(entries).toContainEqual({ auth: 'k:user', user_data: '{"id":"42"}' });
  provider?.subscribe('job.8');
  await until(4);
  await quiet();
  expect(entries).toHaveLength(4);
});

it.each([401, 403, 500])('reports authorization status %s and can retry', async (status) => {
  permission = status;
  await open();
  await until(1);
  provider?.subscribe('job.7');
  await until(2);
  provider?.subscribe('job.7');
  expect(await until(3)).toEqual(['connected', `refused job.7 ${status}`, `refused job.7 ${status}`]);
});

it('reports a refusal on the way as a failure', async () => {
  [permission, isProxy] = [403, true];
  await open();
  await until(1);
  provider?.subscribe('job.7');
  expect(await until(2)).toEqual(['connected', 'refused job.7 500']);
});

it('reports a refusal of the provider as temporary: our own token is valid', async () => {
  serve = (socket) => {
    sendEvent(socket, 'pusher:connection_established', ESTABLISHED);
    socket.on('message', (text) => {
      const { event, data: { channel } } = JSON.parse(String(text));
      if (event !== 'pusher:subscribe') return;
      sendEvent(socket, 'pusher:subscription_error', { type: 'AuthError', error: 'no', status: 401 }, channel);
    });
  };
  await open();
  await until(1);
  provider?.subscribe('job.7');
  expect(await until(2)).toEqual(['connected', 'refused job.7 503']);
});

it.each(['refused', 'not answered'])('subscribes again to a channel that was %s', async (how) => {
  let attempts = 0;
  serve = (socket) => {
    sendEvent(socket, 'pusher:connection_established', ESTABLISHED);
    socket.on('message', (text) => {
      const { event, data: { channel } } = JSON.parse(String(text));
      if (event !== 'pusher:subscribe') return;
      attempts += 1;
      const refusal = { type: 'LimitReached', error: 'no', status: 4009 };
      if (attempts === 2) sendEvent(socket, 'pusher_internal:subscription_succeeded', {}, channel);
      else if (how === 'refused') sendEvent(socket, 'pusher:subscription_error', refusal, channel);
      else note('not answered');
    });
  };
  await open();
  await until(1);
  provider?.subscribe('job.7');
  await until(2);
  provider?.subscribe('job.7');
  expect(await until(3)).toContain('subscribed job.7');
});

it.each([4001, 4003, 4004, 4100, 4200])('is lost after close code %s without an SDK reconnect', async (code) => {
  let connections = 0;
  serve = (socket) => {
    connections += 1;
    sendEvent(socket, 'pusher:connection_established', ESTABLISHED);
    socket.close(code, 'test');
  };
  await open();
  expect(await until(2)).toEqual(['connected', `Pusher: test (${code})`]);
  await quiet();
  expect([connections, entries.length]).toEqual([1, 2]);
});

it.each([4001, 4100, 4200])('is lost after close code %s during the handshake', async (code) => {
  let connections = 0;
  serve = (socket) => {
    connections += 1;
    socket.close(code, 'draining');
  };
  await open();
  expect(await until(1)).toEqual([`Pusher: draining (${code})`]);
  await quiet();
  expect(connections).toBe(1);
});

it('is lost when the connection is cut', async () => {
  serve = (socket) => {
    sendEvent(socket, 'pusher:connection_established', ESTABLISHED);
    socket.terminate();
  };
  await open();
  const [, ending] = await until(2);
  expect(ending).toMatch(/^Pusher: (connecting_in|the connection was lost)$/);
});

it('stays open after an error of a client event', async () => {
  serve = (socket) => {
    sendEvent(socket, 'pusher:connection_established', ESTABLISHED);
    sendEvent(socket, 'pusher:error', { code: 4301, message: 'too many client events' });
    sendEvent(socket, 'realtime', {}, 'private-app.job.7');
  };
  await open();
  await until(1);
  await quiet();
  expect(entries).toEqual(['connected']);
});

/** Make requests one after the other: the server has seen by then what pusher-js sends without a pause. */
async function quiet(): Promise<void> {
  const { port } = http.address() as AddressInfo;
  for (let round = 0; round < ROUNDS; round += 1) await fetch(`http://127.0.0.1:${port}/`);
}
