/** Form that signs a user in. */

import { useState } from 'react';
import { request } from './api.js';

export function SignIn({ onUser }) {
  const [error, setError] = useState('');

  async function send(event) {
    event.preventDefault();
    try {
      onUser((await request('/sign-in', Object.fromEntries(new FormData(event.target)))).user);
    } catch ({ message }) {
      setError(message);
    }
  }

  return (
    <form className="sign-in" onSubmit={send}>
      <h1>Chat</h1>
      <input name="user" aria-label="Name" placeholder="ann" autoComplete="username" required />
      <input name="password" type="password" aria-label="Password" placeholder="secret" autoComplete="current-password" required />
      <button className="primary">Sign in</button>
      <p role="alert">{error}</p>
    </form>
  );
}
