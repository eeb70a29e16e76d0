/** Options of an application: any value becomes a valid one. */

import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { HybridClient } from '../../src/index.js';
import { checkIntervals } from '../../src/machine/options.js';
import { FakeBridge, FakeSocket, settle } from '../support/bridge.js';

const NAMES = ['pollingInterval', 'fallbackDelay', 'reconnectInterval', 'maxReconnectAttempts', 'heartbeatInterval'] as const;
const KINDS = [NaN, Infinity, -Infinity, 0, -0, -1, 0.5, 1e300, 2 ** 31, null, undefined, true, false, '', '5000', 'abc', [], {}, () => 1, 10n, Symbol('s')];

beforeEach(() => {
  vi.useFakeTimers();
  vi.spyOn(console, 'warn').mockReturnValue();
});

afterEach(() => {
  vi.useRealTimers();
  vi.restoreAllMocks();
  vi.unstubAllGlobals();
});

function isValid(name: string, value: unknown): boolean {
  if (value === Infinity) return name === 'maxReconnectAttempts' || name === 'heartbeatInterval';
  const least = name === 'maxReconnectAttempts' ? 0 : 250;
  return Number.isInteger(value) && (value as number) >= least && (value as number) <= 3_600_000;
}

it('any combination of values becomes valid options', () => {
  for (let seed = 0; seed < 2_000; seed += 1) {
    const pick = (): unknown => (Math.random() < 0.3 ? (Math.random() - 0.5) * 10 ** (Math.random() * 20) : KINDS[Math.floor(Math.random() * KINDS.length)]);
    const given = Object.fromEntries(NAMES.map((name) => [name, pick()]));
    const [intervals, problems] = checkIntervals(given);
    for (const name of NAMES) expect(isValid(name, intervals[name]), `${name}: ${String(given[name])}`).toBe(true);
    expect(problems.length).toBeLessThanOrEqual(NAMES.length);
  }
});

it.each(KINDS)('a client with options of %s neither floods nor stops', async (value) => {
  const bridge = new FakeBridge().install();
  const client = new HybridClient({ endpoint: 'http://localhost/realtime', ...Object.fromEntries(NAMES.map((name) => [name, value])) });
  client.subscribe('user-42', {});
  client.start();
  await settle();
  FakeSocket.last.live();
  const before = FakeSocket.last.sent.length;
  for (let second = 0; second < 60; second += 1) {
    await settle(1_000);
    FakeSocket.last.receive({ type: 'heartbeat', offsets: {}, generation: 0 });
  }
  expect(client.state.get().kind).toBe('realtime');
  expect(FakeSocket.last.sent.length - before).toBeLessThanOrEqual(60 * 4);
  FakeSocket.last.end();
  await settle(10_000);
  expect(bridge.requested('poll').length).toBeLessThanOrEqual(60);
  expect(vi.mocked(console.warn).mock.calls.length).toBeLessThanOrEqual(1);
  client.stop();
});
