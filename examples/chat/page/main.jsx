/** Page: sign-in, then one conversation, shown by the AI SDK or by `useStream` alone. */

import { StrictMode, useEffect, useState } from 'react';
import { createRoot } from 'react-dom/client';
import { ConnectionBadge } from 'realtime-bridge/react';
import 'realtime-bridge/react/styles.css';
import { readHistory, request } from './api.js';
import { AIChat } from './ai-chat.jsx';
import { PlainChat } from './plain-chat.jsx';
import { SignIn } from './sign-in.jsx';
import './style.css';

const chatId = new URLSearchParams(location.search).get('chat') ?? 'first';
const isPlain = location.pathname === '/plain';

function App() {
  const [user, setUser] = useState();
  useEffect(() => {
    request('/api/me').then(({ user }) => setUser(user));
  }, []);
  if (user === undefined) return null;
  return user ? <Conversation user={user} /> : <SignIn onUser={setUser} />;
}

function Conversation({ user }) {
  const [history, setHistory] = useState(null);
  useEffect(() => {
    readHistory(chatId).then(setHistory);
  }, []);
  const View = isPlain ? PlainChat : AIChat;
  return (
    <>
      <header>
        <h1>Chat</h1>
        <nav>
          <a href={`/?chat=${chatId}`} aria-current={isPlain ? undefined : 'page'}>useChat</a>
          <a href={`/plain?chat=${chatId}`} aria-current={isPlain ? 'page' : undefined}>useStream</a>
        </nav>
        <ConnectionBadge />
      </header>
      {history && <View chatId={chatId} channel={`chat.${user}.${chatId}`} history={history} />}
    </>
  );
}

createRoot(document.getElementById('root')).render(<StrictMode><App /></StrictMode>);
