/** Server-sent events: their parser, and streams that replace each other. */

import { expect, it, vi } from 'vitest';
import { parseMessage } from '../../src/messages.js';
import type { ServerMessage } from '../../src/messages.js';
import { SSETransport, readData } from '../../src/transports/sse.js';
import type { TransportTools } from '../../src/transports/transport.js';

const HEADERS = { 'content-type': 'text/event-stream' };

function eventStream(...messages: object[]): Response {
  const text = messages.map((message) => `data: ${JSON.stringify(message)}\n\n`).join('');
  const start = (controller: ReadableStreamDefaultController) => controller.enqueue(new TextEncoder().encode(text));
  return new Response(new ReadableStream({ start }), { headers: HEADERS });
}

/** Return the types of the messages from a transport whose channel has moved on at each `welcome`. */
async function received(...responses: (() => Promise<Response>)[]): Promise<string[]> {
  const types: string[] = [];
  const tools = {
    parse: parseMessage,
    request: () => responses.shift()?.() ?? new Promise(() => {}),
    url: (name: string) => name,
    positions: () => ({ 'job.7': { epoch: 'aaaaaaaa', offset: 1 } }),
  } as unknown as TransportTools;
  const transport = new SSETransport(tools, {
    opened: () => transport.send({ type: 'connect', token: 't', nonce: 'n', version: 1 }),
    message: ({ type, reason }: ServerMessage) => {
      types.push(reason ? `${type} ${String(reason)}` : type);
      const position = { epoch: 'aaaaaaaa', offset: 50 };
      if (type === 'welcome') transport.send({ type: 'subscribe', channel: 'job.7', position });
    },
    closed: (code) => types.push(`closed ${code}`),
  });
  await vi.waitFor(() => expect(responses).toEqual([]));
  await new Promise((resolve) => setTimeout(resolve));
  transport.close();
  return types;
}

it('stream that is being replaced delivers nothing more', async () => {
  const reset = { type: 'reset', channel: 'job.7', reason: 'truncated' };
  const first = () => Promise.resolve(eventStream({ type: 'welcome' }, reset, { type: 'heartbeat' }));
  expect(await received(first, () => Promise.resolve(eventStream({ type: 'heartbeat' })))).toEqual([
    'welcome',
    'heartbeat',
  ]);
});

it('refused stream reports the code of the refusal before it closes', async () => {
  const refusal = Object.assign(new Error('refused'), { status: 401, code: 'token_expired' });
  expect(await received(() => Promise.reject(refusal))).toEqual(['error token_expired', 'closed 4401']);
});

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

it('an event of many pieces is searched once', async () => {
  const split = vi.spyOn(String.prototype, 'split');
  const pieces = ['data: ', ...Array<string>(100).fill('x'.repeat(10)), '\n', '\ndata: y\n\n'];
  const body = new ReadableStream({
    start(controller) {
      for (const piece of pieces) controller.enqueue(new TextEncoder().encode(piece));
      controller.close();
    },
  });
  const blocks: string[] = [];
  for await (const data of readData(new Response(body), new AbortController().signal)) blocks.push(data);
  const searches = split.mock.contexts.length;
  split.mockRestore();
  expect(blocks).toEqual(['x'.repeat(1_000), 'y']);
  expect(searches).toBeLessThan(10);
});
