/** Requests to the bridge. */

import { afterEach, expect, it, vi } from 'vitest';
import { request } from '../../src/http/request.js';


afterEach(() => vi.unstubAllGlobals());

it.each([
  ['7', 7_000],
  [null, undefined],
])('Retry-After %s is %s ms', async (header, retryAfter) => {
  const headers: Record<string, string> = header ? { 'retry-after': header } : {};
  vi.stubGlobal('fetch', async () => new Response('', { status: 429, headers }));
  const response = request('http://x.test', { signal: new AbortController().signal });
  await expect(response).rejects.toMatchObject({ status: 429, retryAfter });
});
