/** Transport of chats, with the chat of the AI SDK itself. */

import { Chat } from '@ai-sdk/react';
import type { ChatInit, UIMessage } from 'ai';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { BridgeChatTransport } from '../../src/ai/index.js';
import type { BridgeChatTransportOptions } from '../../src/ai/index.js';
import { FakeClient } from '../react/fake-client.js';
import { CHANNEL, StreamEvents } from '../support/stream-events.js';

const QUESTION: UIMessage = { id: 'q1', role: 'user', parts: [{ type: 'text', text: 'Why?' }] };

let client: FakeClient;
let requests: { url: string; body: any; headers: Headers }[];
let answer: () => Promise<Response>;

beforeEach(() => {
  client = new FakeClient();
  requests = [];
  answer = async () => Response.json({ channel: CHANNEL, stream: 'm1' });
  vi.stubGlobal('fetch', (url: string, { body, headers }: RequestInit) => {
    requests.push({ url, body: JSON.parse(body as string), headers: headers as Headers });
    return answer();
  });
});

afterEach(() => vi.unstubAllGlobals());

function chatOf(init: ChatInit<UIMessage> = {}, options: Partial<BridgeChatTransportOptions> = {}): Chat<UIMessage> {
  return new Chat({ id: 'c1', transport: new BridgeChatTransport({ client, channelOf: () => CHANNEL, ...options }), ...init });
}

function textOf({ messages }: Chat<UIMessage>): string {
  return messages.map(({ parts }) => parts.map((part) => (part.type === 'text' ? part.text : '')).join('')).join('|');
}

const stops = (): string[] => client.calls.filter((call) => call.startsWith('stop '));

it('answer of the worker becomes the message', async () => {
  const chat = chatOf();
  const sent = chat.sendMessage({ text: 'Why?' }, { headers: { 'x-tenant': 'a' }, body: { model: 'small' } });
  const writer = new StreamEvents(client);
  await vi.waitFor(() => expect(client.live).toHaveLength(1));
  writer.begin();
  writer.append('Because ', 'of ');
  await vi.waitFor(() => expect(textOf(chat)).toBe('Why?|Because of '));
  expect(chat.status).toBe('streaming');
  writer.append('this.');
  writer.end('completed');
  await sent;
  expect(textOf(chat)).toBe('Why?|Because of this.');
  expect(chat.lastMessage?.id).toBe('m1');
  expect(chat.status).toBe('ready');
  expect(client.live).toEqual([]);
  expect(requests).toHaveLength(1);
  expect(requests[0]).toMatchObject({ url: '/api/chat', body: { id: 'c1', trigger: 'submit-message', model: 'small' } });
  expect(requests[0]?.headers.get('x-tenant')).toBe('a');
  expect(stops()).toEqual([]);
});

it.each([
  [async () => new Response('No credit', { status: 402 }), 'No credit'],
  [async () => new Response('', { status: 500 }), '/api/chat answered 500'],
  [async () => Response.json({ stream: 'm1' }), '/api/chat answered without a channel and a stream'],
])('refusal of the application is the error of the chat', async (response, message) => {
  answer = response;
  const chat = chatOf();
  await chat.sendMessage({ text: 'Why?' });
  expect(chat.status).toBe('error');
  expect(chat.error?.message).toContain(message);
});

it('page that was reloaded shows the stream from its beginning', async () => {
  const chat = chatOf({ messages: [QUESTION] });
  const resumed = chat.resumeStream();
  await vi.waitFor(() => expect(client.live).toHaveLength(1));
  const writer = new StreamEvents(client);
  writer.begin();
  writer.append('Because ', 'of ');
  const [base, part] = writer.events;
  client.snapshot(CHANNEL, [base!]);
  await vi.waitFor(() => expect(client.subscriptions).toHaveLength(2));
  client.snapshot(CHANNEL, [base!, part!]);
  await vi.waitFor(() => expect(textOf(chat)).toBe('Why?|Because of '));
  writer.append('this.');
  writer.end('completed');
  await resumed;
  expect(textOf(chat)).toBe('Why?|Because of this.');
});

it.each([
  ['an empty channel', undefined],
  ['a stream that ended 61 s ago', 61_000],
])('there is nothing to resume in %s', async (_name, age) => {
  const chat = chatOf({ messages: [QUESTION] });
  const resumed = chat.resumeStream();
  const writer = new StreamEvents(client);
  if (age) {
    writer.begin();
    writer.end('completed', null, Date.now() - age);
  }
  client.snapshot(CHANNEL, writer.events);
  await resumed;
  expect(chat.status).toBe('ready');
  expect(client.live).toEqual([]);
});

it('stream that ended just before the page was loaded is replayed', async () => {
  const chat = chatOf({ messages: [QUESTION] });
  const resumed = chat.resumeStream();
  const writer = new StreamEvents(client);
  writer.begin();
  writer.append('Because.');
  writer.end('completed');
  client.snapshot(CHANNEL, [writer.events[0]!, writer.events[2]!]);
  await vi.waitFor(() => expect(client.subscriptions).toHaveLength(2));
  client.snapshot(CHANNEL, writer.events);
  await resumed;
  expect(textOf(chat)).toBe('Why?|Because.');
});

it('reason for a denied channel is the error of the chat', async () => {
  const chat = chatOf();
  const resumed = chat.resumeStream();
  for (const { onError } of client.live) void onError?.({ channel: CHANNEL, message: 'Not yours' });
  await resumed;
  expect(chat.error?.message).toBe('Not yours');
});

it('stream that a worker will begin is waited for', async () => {
  const chat = chatOf({ messages: [QUESTION] }, { channelOf: () => ({ channel: CHANNEL, stream: 'm1' }) });
  const resumed = chat.resumeStream();
  await vi.waitFor(() => expect(chat.status).toBe('submitted'));
  const writer = new StreamEvents(client);
  writer.begin();
  writer.append('Because.');
  writer.end('completed');
  await resumed;
  expect(textOf(chat)).toBe('Why?|Because.');
});

it('stop of the chat stops the stream for all', async () => {
  const chat = chatOf();
  const sent = chat.sendMessage({ text: 'Why?' });
  await vi.waitFor(() => expect(client.live).toHaveLength(1));
  const writer = new StreamEvents(client);
  writer.begin();
  writer.append('Because ');
  await vi.waitFor(() => expect(textOf(chat)).toBe('Why?|Because '));
  await chat.stop();
  await sent;
  expect(chat.status).toBe('ready');
  await vi.waitFor(() => expect(stops()).toEqual([`stop ${CHANNEL} m1 a1`]));
  expect(client.live).toEqual([]);
});

it('stop before the worker begins stops the stream at its start', async () => {
  const chat = chatOf();
  const sent = chat.sendMessage({ text: 'Why?' });
  await vi.waitFor(() => expect(client.live).toHaveLength(1));
  await chat.stop();
  await sent;
  await vi.waitFor(() => expect(client.subscriptions).toHaveLength(2));
  expect(stops()).toEqual([]);
  new StreamEvents(client).begin();
  await vi.waitFor(() => expect(stops()).toEqual([`stop ${CHANNEL} m1 a1`]));
});

it('stop while the question is sent stops the answer', async () => {
  let respond = (_response: Response): void => {};
  answer = () => new Promise((resolve) => { respond = resolve; });
  const chat = chatOf();
  const sent = chat.sendMessage({ text: 'Why?' });
  await vi.waitFor(() => expect(requests).toHaveLength(1));
  const stopped = chat.stop();
  respond(Response.json({ channel: CHANNEL, stream: 'm1' }));
  await Promise.all([sent, stopped]);
  await vi.waitFor(() => expect(client.live).toHaveLength(1));
  new StreamEvents(client).begin();
  await vi.waitFor(() => expect(stops()).toEqual([`stop ${CHANNEL} m1 a1`]));
});

it('resume that another resume aborts stops nothing', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  try {
    const chat = chatOf({ messages: [QUESTION] }, { channelOf: () => ({ channel: CHANNEL, stream: 'm1' }) });
    void chat.resumeStream();
    await vi.advanceTimersByTimeAsync(20);
    const writer = new StreamEvents(client);
    writer.begin();
    writer.append('Because ');
    await vi.advanceTimersByTimeAsync(20);
    const resumed = chat.resumeStream();
    await vi.advanceTimersByTimeAsync(5_000);
    expect(stops()).toEqual([]);
    client.snapshot(CHANNEL, writer.events);
    writer.end('completed');
    await vi.advanceTimersByTimeAsync(20);
    await resumed;
    expect(textOf(chat)).toBe('Why?|Because ');
  } finally {
    vi.useRealTimers();
  }
});

it('another attempt clears the message and goes on, where the chat resumes', async () => {
  const chat: Chat<UIMessage> = chatOf({
    onFinish: ({ isDisconnect }) => {
      if (isDisconnect) void chat.resumeStream();
    },
  });
  void chat.sendMessage({ text: 'Why?' });
  await vi.waitFor(() => expect(client.live).toHaveLength(1));
  const dead = new StreamEvents(client, 'dead');
  dead.begin();
  dead.append('Nonsense ');
  await vi.waitFor(() => expect(textOf(chat)).toBe('Why?|Nonsense '));
  for (const attempt of ['second', 'third']) {
    const writer = new StreamEvents(client, attempt);
    const before = client.subscriptions.length;
    writer.begin();
    writer.append(`Because ${attempt}`);
    await vi.waitFor(() => expect(client.subscriptions).toHaveLength(before + 1));
    client.snapshot(CHANNEL, writer.events);
    await vi.waitFor(() => expect(textOf(chat)).toBe(`Why?|Because ${attempt}`));
  }
  new StreamEvents(client, 'third').end('completed');
  await vi.waitFor(() => expect(chat.status).toBe('ready'));
  expect(chat.messages).toHaveLength(2);
  expect(stops()).toEqual([]);
});

it('text of a failed stream stays, with its error', async () => {
  const chat = chatOf();
  const sent = chat.sendMessage({ text: 'Why?' });
  await vi.waitFor(() => expect(client.live).toHaveLength(1));
  const writer = new StreamEvents(client);
  writer.begin();
  writer.append('Because ');
  writer.end('failed', 'No credit');
  await sent;
  expect(textOf(chat)).toBe('Why?|Because ');
  expect(chat.error?.message).toBe('No credit');
});
