/** Conversation by the AI SDK: `useChat`, and the transport of realtime-bridge. */

import { useState } from 'react';
import { Chat, useChat } from '@ai-sdk/react';
import { BridgeChatTransport } from 'realtime-bridge/ai';
import { useChannel, useClient } from 'realtime-bridge/react';
import { messageOf } from './api.js';
import { Composer, Messages } from './view.jsx';

export function AIChat({ chatId, channel, history }) {
  const client = useClient();
  const [{ chat, expect }] = useState(() => createChat(client, chatId, channel, history));
  const { messages, status, error, sendMessage, stop } = useChat({ chat, resume: true });

  // A question from another tab: show it, and the answer.
  useChannel(channel, ({ event, data }) => {
    if (event !== 'chat.question' || chat.messages.some(({ id }) => id === data.id)) return;
    chat.messages = [...chat.messages, messageOf(data.id, 'user', data.text)];
    expect(data.stream);
    void chat.resumeStream();
  });

  return (
    <>
      <Messages messages={messages} status={status} error={error?.message} />
      <Composer
        isBusy={status === 'submitted' || status === 'streaming'}
        onSend={(text) => void sendMessage({ text })}
        onStop={() => void stop()}
      />
    </>
  );
}

function createChat(client, id, channel, { messages, pending }) {
  // A stream that a worker will begin; without one, the transport finds the newest of the channel.
  let expected = pending;
  const transport = new BridgeChatTransport({
    client,
    channelOf: () => (expected ? { channel, stream: expected } : channel),
  });
  const chat = new Chat({
    id,
    messages,
    transport,
    onFinish: ({ isDisconnect }) => {
      if (isDisconnect) void chat.resumeStream(); // another attempt began the answer again
      else expected = null;
    },
  });
  return { chat, expect: (stream) => { expected = stream; } };
}
