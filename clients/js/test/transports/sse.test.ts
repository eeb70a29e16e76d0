/** Parser of server-sent events. */

import { expect, it } from 'vitest';
import { readData } from '../../src/transports/sse.js';


it('a stream of events is read however it is cut into pieces', async () => {
  const text = 'retry: 3000\n\n: comment\n\nid: a:1\ndata: {"ä":1}\n\ndata: one\r\ndata: two\r\n\r\ndata: unfinished';
  const bytes = new TextEncoder().encode(text);
  const body = new ReadableStream({
    start(controller) {
      for (const byte of bytes) controller.enqueue(new Uint8Array([byte]));
      controller.close();
    },
  });
  const read: string[] = [];
  for await (const data of readData(new Response(body), new AbortController().signal)) read.push(data);
  expect(read).toEqual(['{"ä":1}', 'one\ntwo']);
});
