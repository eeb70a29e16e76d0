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
