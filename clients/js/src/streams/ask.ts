/** Request to an application that queues work, and answers where its stream will be. */

import { isFields, isText } from '../messages.js';
import type { StreamAddress } from './find-stream.js';

/** Post a body, and return the channel and the stream of the answer; throw the application's words for a refusal. */
export async function askForStream(url: string, body: object, headers?: HeadersInit): Promise<StreamAddress> {
  const all = new Headers(headers);
  all.set('content-type', 'application/json');
  const response = await fetch(url, { method: 'POST', credentials: 'include', headers: all, body: JSON.stringify(body) });
  if (!response.ok) throw new Error((await response.text()) || `${url} answered ${response.status}`);
  const answer: unknown = await response.json().catch(() => null);
  if (isFields(answer) && isText(answer.channel) && isText(answer.stream)) {
    return { channel: answer.channel, stream: answer.stream };
  }
  throw new Error(`${url} answered without a channel and a stream: answer {"channel": "…", "stream": "…"}`);
}
