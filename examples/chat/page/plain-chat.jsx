/** Conversation without an SDK: `useStream` shows the answer that is being written. */

import { useState } from 'react';
import { useChannel, useStream } from 'realtime-bridge/react';
import { messageOf, readHistory, request } from './api.js';
import { Composer, Messages } from './view.jsx';

export function PlainChat({ chatId, channel, history }) {
  const [{ messages, pending }, setHistory] = useState(history);
  const [error, setError] = useState(null);
  const stream = useStream(channel);

  // A question, from this tab or another: the history has it.
  useChannel(channel, ({ event }) => {
    if (event === 'chat.question') readHistory(chatId).then(setHistory);
  });

  function send(text) {
    setError(null);
    request('/api/chat', { id: chatId, messages: [messageOf(crypto.randomUUID(), 'user', text)] }).catch(({ message }) => setError(message));
  }

  const isWaiting = pending !== null && stream.id !== pending;
  const status = isWaiting ? 'submitted' : stream.state;
  // The worker saves an answer at its end: until then, the stream alone has it.
  const isShown = stream.id === null || messages.some(({ id }) => id === stream.id);
  const answer = isShown || isWaiting ? [] : [messageOf(stream.id, 'assistant', stream.text)];
  return (
    <>
      <Messages messages={[...messages, ...answer]} status={status} error={error ?? stream.error} />
      <Composer isBusy={status === 'submitted' || status === 'open'} onSend={send} onStop={() => void stream.stop()} />
    </>
  );
}
