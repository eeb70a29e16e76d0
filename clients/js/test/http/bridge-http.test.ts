/** Requests for the latest event of each key. */

import { afterEach, expect, it, vi } from 'vitest';
import { BridgeHTTP } from '../../src/http/bridge-http.js';
import type { DescriptorStore } from '../../src/http/descriptor.js';

afterEach(() => vi.unstubAllGlobals());

it('an unreadable event in a snapshot leaves the other events', async () => {
  const position = { epoch: 'aaaaaaaa', offset: 2 };
  const good = { type: 'event', channel: 'job.7', event: 'job.step', id: 'a2', key: 'k', ...position, data: 2 };
  const events = [{ ...good, event: 5, offset: 1 }, good];
  vi.stubGlobal('fetch', async () => Response.json({ events, position, more: false }));
  const descriptors = { token: async () => 't1', url: () => 'http://x.test/latest' };
  const http = new BridgeHTTP(descriptors as unknown as DescriptorStore);
  const snapshot = await http.latest('job.7', new AbortController().signal);
  expect(snapshot.events.map(({ data }) => data)).toEqual([2]);
});
