/** Requests for snapshots and stops. */

import { afterEach, expect, it, vi } from 'vitest';
import { BridgeHTTP } from '../../src/http/bridge-http.js';
import { DescriptorStore } from '../../src/http/descriptor.js';
import { HTTPError } from '../../src/http/request.js';

afterEach(() => vi.unstubAllGlobals());

it('an unreadable event in a snapshot leaves the other events', async () => {
  const position = { epoch: 'aaaaaaaa', offset: 2 };
  const good = { type: 'event', channel: 'job.7', event: 'job.step', id: 'a2', key: 'k', ...position, data: 2 };
  const events = [{ ...good, event: 5, offset: 1 }, good];
  vi.stubGlobal('fetch', async () => Response.json({ events, position, more: false }));
  const descriptors = { token: async () => 't1', url: () => 'http://x.test/latest' };
  const http = new BridgeHTTP(descriptors as unknown as DescriptorStore);
  const snapshot = await http.latest('job.7', undefined, new AbortController().signal);
  expect(snapshot.events.map(({ data }) => data)).toEqual([2]);
});

const POSITION = { epoch: 'aaaaaaaa', offset: 9 };

function http(): BridgeHTTP {
  return new BridgeHTTP(new DescriptorStore({ endpoint: 'http://x.test/realtime', reuse: 0, client: 'c_1', token: 't1' }));
}

function keyed(key: string, offset: number, fold?: string): object {
  return { type: 'event', channel: 'chat.1', event: 'e', id: `e${offset}`, key, ...POSITION, offset, data: offset, fold };
}

/** Answer each request with the next page; return the requested URLs. */
function answers(...pages: object[]): string[] {
  const urls: string[] = [];
  vi.stubGlobal('fetch', async (url: string) => {
    urls.push(url);
    return Response.json(pages[urls.length - 1]);
  });
  return urls;
}

it('a group on a later page replaces the earlier one as a whole', async () => {
  const urls = answers(
    { events: [keyed('a', 1), keyed('a', 3, 'end'), keyed('b', 2), keyed('b', 4, 'note')], position: POSITION, more: true },
    { events: [keyed('c', 5), keyed('a', 6), keyed('a', 8, 'note')], position: POSITION, more: false },
  );
  const { events } = await http().latest('chat.1', undefined, new AbortController().signal);
  expect(events.map(({ data }) => data)).toEqual([2, 4, 5, 6, 8]);
  expect(urls).toEqual(['http://x.test/realtime/latest?channel=chat.1', 'http://x.test/realtime/latest?channel=chat.1&after=4']);
});

it('a key is requested alone', async () => {
  const urls = answers({ events: [keyed('stream-m 1', 1), keyed('stream-m 1', 7, 'append')], position: POSITION, more: false });
  const { events, position } = await http().latest('chat.1', 'stream-m 1', new AbortController().signal);
  expect(events.map(({ fold }) => fold)).toEqual([undefined, 'append']);
  expect(position).toEqual(POSITION);
  expect(urls).toEqual(['http://x.test/realtime/latest?channel=chat.1&key=stream-m+1']);
});

it('a page that repeats the one before ends the requests', async () => {
  const page = { events: [keyed('a', 4)], position: POSITION, more: true };
  const urls = answers(page, page);
  await expect(http().latest('chat.1', undefined, new AbortController().signal)).rejects.toThrow('pages that advance');
  expect(urls).toHaveLength(2);
});

it.each([-1, 1.5, 2 ** 53, '4'])('an offset of %s is no position', async (offset) => {
  answers({ events: [], position: { ...POSITION, offset }, more: false });
  await expect(http().latest('chat.1', undefined, new AbortController().signal)).rejects.toThrow('a position');
});

function refuse(status: number, code: string): void {
  vi.stubGlobal('fetch', async () => Response.json({ error: { code, message: `it is ${code}` } }, { status }));
}

it('stop posts the attempt, and takes an ended stream for done', async () => {
  const bodies: unknown[] = [];
  vi.stubGlobal('fetch', async (url: string, { body }: { body: string }) => {
    bodies.push(url, JSON.parse(body));
    return Response.json({ state: 'stopped' });
  });
  const fields = { channel: 'chat.1', stream: 'm1', attempt: 'A' };
  await http().stopStream(fields, new AbortController().signal);
  expect(bodies).toEqual(['http://x.test/realtime/stream/stop', fields]);
  refuse(409, 'ended');
  await http().stopStream(fields, new AbortController().signal);
});

it.each([[409, 'superseded'], [404, 'unknown_stream'], [403, 'forbidden']])('stop that is refused with %i %s rejects', async (status, code) => {
  refuse(status, code);
  const stopped = http().stopStream({ channel: 'chat.1', stream: 'm1' }, new AbortController().signal);
  await expect(stopped).rejects.toMatchObject({ status, code, message: `it is ${code}` });
  await expect(stopped).rejects.toBeInstanceOf(HTTPError);
});

it('stop without an answer rejects with a reason', async () => {
  vi.stubGlobal('fetch', async () => Promise.reject(new TypeError('network')));
  const stopped = http().stopStream({ channel: 'chat.1', stream: 'm1' }, new AbortController().signal);
  await expect(stopped).rejects.toThrow('no answer: stop may have had no effect');
});

it('requests to jobs post their fields, and reject with the code of a refusal', async () => {
  const bodies: unknown[] = [];
  vi.stubGlobal('fetch', async (url: string, { body }: { body: string }) => {
    bodies.push(url, JSON.parse(body));
    return Response.json({ state: 'cancelling' }, { status: 202 });
  });
  const { signal } = new AbortController();
  const cancel = { channel: 'user-42', job: 'j1', reason: 'wrong file' };
  const answer = { channel: 'user-42', job: 'j1', question: 'q1', value: { ok: true } };
  await http().cancelJob(cancel, signal);
  await http().answerJob(answer, signal);
  expect(bodies).toEqual(['http://x.test/realtime/job/cancel', cancel, 'http://x.test/realtime/job/answer', answer]);
  refuse(409, 'ended');
  await expect(http().cancelJob(cancel, signal)).rejects.toMatchObject({ status: 409, code: 'ended' });
  await expect(http().answerJob(answer, signal)).rejects.toMatchObject({ status: 409, code: 'ended' });
});
