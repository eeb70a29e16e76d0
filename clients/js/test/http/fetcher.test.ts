/** Calls of the application's `fetchData`. */

import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { Fetcher } from '../../src/http/fetcher.js';
import { settle } from '../support/bridge.js';

let calls: { resolve(data: string): void; reject(error: Error): void }[];
let fetched: string[];
let fetcher: Fetcher<string>;

beforeEach(() => {
  vi.useFakeTimers();
  calls = [];
  fetched = [];
  const fetch = () => new Promise<string>((resolve, reject) => calls.push({ resolve, reject }));
  fetcher = new Fetcher(fetch, { fetched: (data) => fetched.push(data), failed: () => {} }, 1_000);
});

afterEach(() => void vi.useRealTimers());

it.each(['a success', 'a failure'])('nothing is called after stop, when the call in flight ends by %s', async (end) => {
  void fetcher.run();
  void fetcher.run();
  fetcher.stop();
  if (end === 'a success') calls[0]!.resolve('old');
  else calls[0]!.reject(new Error('aborted'));
  await settle(60_000);
  expect(calls).toHaveLength(1);
  expect(fetched).toEqual([]);
});

it('a run that waited before a stop does not follow the next start', async () => {
  void fetcher.run();
  void fetcher.run();
  fetcher.stop();
  void fetcher.run();
  void fetcher.run();
  calls[0]!.resolve('old');
  await settle();
  expect(calls).toHaveLength(2);
  calls[1]!.resolve('new');
  await settle();
  expect(calls).toHaveLength(3);
  calls[2]!.resolve('newest');
  await settle(60_000);
  expect(fetched).toEqual(['new', 'newest']);
  expect(calls).toHaveLength(3);
});
