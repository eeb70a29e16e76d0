/** Chats of the AI SDK on a real server: by our transport, and by the SDK's own without our client. */

import { Chat } from '@ai-sdk/react';
import { DefaultChatTransport } from 'ai';
import type { ChatTransport, UIMessage } from 'ai';
import { beforeAll, expect, it, vi } from 'vitest';
import { WebSocket as NodeWebSocket } from 'ws';
import { BridgeChatTransport } from '../../src/ai/index.js';
import { HybridClient } from '../../src/index.js';
import { Server, token } from '../support/server.js';
import { StreamWriter } from '../support/stream-writer.js';

const CHANNEL = 'user-42';

let server: Server;
let client: HybridClient;
let credentials: string;

beforeAll(async () => {
  globalThis.WebSocket ??= NodeWebSocket as unknown as typeof WebSocket;
  credentials = token('42');
  server = await Server.start();
  client = new HybridClient({ endpoint: server.url, token: credentials });
  client.start();
  return async () => {
    client.stop();
    await server.stop();
  };
});

/** The SDK's own transport, as docs/ai-sdk.md configures it. */
function ownTransport(stream: string): ChatTransport<UIMessage> {
  return new DefaultChatTransport({
    prepareReconnectToStreamRequest: () => ({
      api: `${server.url}/stream?channel=${CHANNEL}&id=${stream}&format=ui-message`,
      headers: { 'realtime-token': credentials },
    }),
  });
}

it.each([
  ['transport of the bridge', () => new BridgeChatTransport({ client, channelOf: () => CHANNEL })],
  ['transport of the SDK', ownTransport],
])('%s resumes in the middle', async (name, transportOf) => {
  const writer = new StreamWriter(server, CHANNEL, name.replaceAll(' ', '-'));
  await writer.start();
  await writer.append(5);
  const chat = new Chat({ id: '1', transport: transportOf(writer.id) });
  const resumed = chat.resumeStream();
  await vi.waitFor(() => expect(textOf(chat)).toBe(writer.text), { timeout: 10_000 });
  expect(chat.status).toBe('streaming');
  await writer.append(5);
  await writer.end();
  await resumed;
  expect(textOf(chat)).toBe(writer.text);
  expect(chat.lastMessage?.id).toBe(writer.id);
  expect(chat.status).toBe('ready');
});

it('transport of the SDK has nothing to resume of an unknown stream', async () => {
  const chat = new Chat({ id: '1', transport: ownTransport('unknown') });
  await chat.resumeStream();
  expect([chat.status, chat.messages]).toEqual(['ready', []]);
});

function textOf({ messages }: Chat<UIMessage>): string {
  return messages.flatMap(({ parts }) => parts.map((part) => (part.type === 'text' ? part.text : ''))).join('');
}
