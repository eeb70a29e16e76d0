/** Causes of failures: each has its own reason in the status and in the telemetry. */

import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { HybridClient } from '../src/index.js';
import type { ClientOptions, Telemetry } from '../src/index.js';
import { statusText } from '../src/react/status-text.js';
import { FakeBridge, settle } from './support/bridge.js';

let bridge: FakeBridge;
let client: HybridClient;
let entries: Telemetry[];

beforeEach(() => {
  vi.useFakeTimers();
  bridge = new FakeBridge().install();
  entries = [];
});

afterEach(() => {
  client.stop();
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

async function start(options: ClientOptions = {}): Promise<void> {
  client = new HybridClient({ endpoint: 'http://localhost/realtime', onTelemetry: (entry) => entries.push(entry), ...options });
  client.subscribe('user-42', {});
  client.start();
  await settle(60);
}

const refusal = (status: number, code: string, message: string): Response => Response.json({ error: { code, message } }, { status });
const reasons = (): string[] => entries.flatMap((entry) => (entry.type === 'failure' ? [entry.reason] : []));

it.each([
  ['not_started', refusal(503, 'not_started', 'The server has not started'), 'no descriptor: The server has not started (503 not_started)'],
  ['HTML with 200', new Response('<html>', { status: 200 }), 'no descriptor: something other than the bridge answered 200: check the address'],
  ['a gateway', new Response('', { status: 502 }), 'no descriptor: something other than the bridge answered 502: check the address (502)'],
  ['no network', new TypeError('Failed to fetch'), 'no descriptor: no answer'],
])('%s is the reason of the status', async (_, answer, reason) => {
  bridge.answers.connect = answer;
  await start();
  expect(client.state.get().reason).toBe(reason);
  expect(reasons()).toHaveLength(1);
});

it.each([
  ['throws', () => { throw new Error('session expired'); }],
  ['rejects', () => Promise.reject(new Error('session expired'))],
])('token() that %s is the reason of the status', async (_, token) => {
  await start({ token: token as () => Promise<string> });
  expect(client.state.get().reason).toBe("no descriptor: the application's token() failed: session expired");
  expect(reasons()).toContain("the application's token() failed: session expired");
});

it('a refused origin is distinguished from a user without access', async () => {
  bridge.answers.connect = refusal(403, 'bad_origin', 'Pages of http://other may not connect: name it in REALTIME_ORIGINS');
  await start();
  await settle(1_000);
  const state = client.state.get();
  expect(state).toMatchObject({ kind: 'error', reason: expect.stringContaining('REALTIME_ORIGINS (403 bad_origin)') });
  expect(statusText(state).detail).toBe('This page may not connect.');
});

it.each(['ws', 'http'])('an endpoint with %s and a query keeps the query on every route', async (scheme) => {
  const urls: string[] = [];
  const { fetch } = globalThis;
  vi.stubGlobal('fetch', (url: string, init: RequestInit) => (urls.push(url), fetch(url, init)));
  await start({ endpoint: `${scheme}://localhost/realtime/?tenant=a`, transport: 'auto' });
  client.refresh();
  await settle(1_000);
  expect(urls[0]).toBe('http://localhost/realtime/connect?tenant=a');
  await settle(3_000);
  expect(urls).toContain('http://localhost/realtime/poll?tenant=a');
});

it('an address of another kind is its own reason', async () => {
  await start({ endpoint: 'ftp://localhost/realtime' });
  expect(client.state.get().reason).toContain('ftp://localhost/realtime');
});
