/** Parser of server-sent events. */

import { expect, it } from 'vitest';
import { readData } from '../../src/transports/sse.js';


it('stream is parsed at any chunk boundary', async () => {
  const text = 'retry: 3000\n\n: comment\n\nid: a:1\ndata: {"ä":1}\n\ndata: one\r\ndata: two\r\n\r\ndata: unfinished';
  const bytes = new TextEncoder().encode(text);
  const body = new ReadableStream({
    start(controller) {
      for (const byte of bytes) controller.enqueue(new Uint8Array([byte]));
      controller.close();
    },
  });
  const blocks: string[] = [];
  for await (const data of readData(new Response(body), new AbortController().signal)) blocks.push(data);
  expect(blocks).toEqual(['{"ä":1}', 'one\ntwo']);
});
