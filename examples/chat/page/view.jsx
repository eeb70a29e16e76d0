/** Parts that both pages show: messages, and the form for the next one. */

import { useEffect, useRef, useState } from 'react';

/** Texts of the states, of the AI SDK and of streams. */
const NOTES = {
  submitted: 'Waiting for a worker …',
  streaming: 'A worker writes …',
  open: 'A worker writes …',
  stopped: 'Stopped',
  lost: 'The worker does not answer. Another one may begin again.',
};

export function Messages({ messages, status, error }) {
  const main = useRef(null);
  useEffect(() => {
    main.current.scrollTop = main.current.scrollHeight;
  }, [messages]);
  return (
    <main ref={main} data-status={status}>
      {!messages.length && <p className="hint">Ask something. A Celery worker answers, word by word.</p>}
      <ol aria-live="polite">
        {messages.map(({ id, role, parts }) => (
          <li key={id} data-id={id} className={role}>{parts.map((part) => part.text ?? '').join('')}</li>
        ))}
      </ol>
      <p className={error ? 'note error' : 'note'} role="status">{error ?? NOTES[status] ?? ''}</p>
    </main>
  );
}

export function Composer({ isBusy, onSend, onStop }) {
  const [text, setText] = useState('');

  function send(event) {
    event.preventDefault();
    if (isBusy || !text.trim()) return;
    setText('');
    onSend(text.trim());
  }

  return (
    <form className="composer" onSubmit={send}>
      <input aria-label="Message" placeholder="Your question" autoComplete="off" value={text} onChange={(event) => setText(event.target.value)} />
      {isBusy
        ? <button type="button" className="stop" onClick={onStop}>Stop</button>
        : <button className="primary" disabled={!text.trim()}>Send</button>}
    </form>
  );
}
