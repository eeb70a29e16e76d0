/** Requests to the application. */

/** Send a request, and return the JSON of the answer. */
export async function request(url, body) {
  const init = { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) };
  const response = await fetch(url, body && init);
  if (!response.ok) throw new Error((await response.json().catch(() => null))?.detail ?? `The server answered ${response.status}`);
  return response.json();
}

/** Return the messages of a conversation, and the stream of an answer that is not complete. */
export async function readHistory(chatId) {
  const { messages, pending } = await request(`/api/chats/${chatId}`);
  return { messages: messages.map(({ id, role, text }) => messageOf(id, role, text)), pending };
}

/** Return a message in the form of the AI SDK. */
export function messageOf(id, role, text) {
  return { id, role, parts: [{ type: 'text', text }] };
}
