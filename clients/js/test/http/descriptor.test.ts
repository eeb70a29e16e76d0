/** Descriptors: how long a token and a stored descriptor serve. */

import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { DescriptorStore } from '../../src/http/descriptor.js';

const MINUTE = 60_000;
const FIELDS = { token: 'short-lived', expires: 600, urls: {} };

const store = () =>
  new DescriptorStore({ endpoint: 'http://x.test/realtime', reuse: 60 * MINUTE, client: 'c_1', token: 'application' });

const fetched = async () => {
  const descriptors = store();
  await descriptors.fetch(new AbortController().signal);
  return descriptors;
};

const moveWallClock = (ms: number) => vi.setSystemTime(Date.now() + ms);

beforeEach(() => {
  vi.useFakeTimers();
  const saved = new Map<string, string>();
  vi.stubGlobal('sessionStorage', {
    getItem: (key: string) => saved.get(key) ?? null,
    setItem: (key: string, text: string) => saved.set(key, text),
  });
  vi.stubGlobal('fetch', async () => Response.json(FIELDS));
});

afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

it.each([-120 * MINUTE, 120 * MINUTE])('a wall clock moved by %d ms ends no token, and extends none', async (ms) => {
  const descriptors = await fetched();
  moveWallClock(ms);
  vi.advanceTimersByTime(9 * MINUTE);
  expect(await descriptors.token()).toBe('short-lived');
  vi.advanceTimersByTime(MINUTE);
  expect(await descriptors.token()).toBe('application');
});

it('a stored descriptor serves for an hour', async () => {
  await fetched();
  moveWallClock(59 * MINUTE);
  expect(store().load()).not.toBeNull();
  moveWallClock(MINUTE);
  expect(store().load()).toBeNull();
});

it('a descriptor stored by a wall clock that was hours ahead is not used', async () => {
  await fetched();
  moveWallClock(-61 * MINUTE);
  expect(store().load()).toBeNull();
});

async function termsOf(fields: object) {
  vi.stubGlobal('fetch', async () => new Response(JSON.stringify({ ...FIELDS, ...fields }).replaceAll('"HUGE"', '1e400')));
  return (await store().fetch(new AbortController().signal)).terms;
}

it.each(['heartbeat', 'expires', 'max_age'])('a %s beyond every timer is a year', async (name) => {
  const { heartbeat, expires, maxAge } = await termsOf({ [name]: 'HUGE' });
  expect([heartbeat, expires, maxAge]).toContain(31_536_000_000);
});

it.each([[0, 10_000], [1.5, 10_000], [60, 60_000], [-1, null], ['x', null]])(
  'an age of %s that would make a client connect without a pause is raised',
  async (sent, maxAge) => expect((await termsOf({ max_age: sent })).maxAge).toBe(maxAge),
);
