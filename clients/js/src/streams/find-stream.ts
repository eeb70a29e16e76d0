/** Stream of a channel to resume. */

import type { Client, RealtimeEvent } from '../types.js';
import { streamKey } from './fold.js';
import { newestStream } from './newest-stream.js';

/** Age up to which an ended stream is replayed, in milliseconds: a page may have read its database just before the end. */
const REPLAY_MS = 60_000;

/** Place of a stream, as an application answers it. */
export interface StreamAddress {
  readonly channel: string;
  readonly stream: string;
}

/**
 * Find the stream that began last in a channel. Resolves with null where there is none, where it ended
 * more than a minute ago, and after an abort; rejects with the server's reason to deny the channel.
 */
export function findStream(client: Client, channel: string, signal?: AbortSignal): Promise<StreamAddress | null> {
  let unsubscribe = (): void => {};
  const found = new Promise<StreamAddress | null>((resolve, reject) => {
    signal?.addEventListener('abort', () => resolve(null), { once: true });
    unsubscribe = client.subscribe(channel, {
      onSnapshot: ({ events }) => resolve(addressOf(channel, events, Date.now())),
      onError: ({ message }) => reject(new Error(message)),
    });
    if (signal?.aborted) resolve(null);
  });
  return found.finally(() => unsubscribe());
}

function addressOf(channel: string, events: readonly RealtimeEvent[], now: number): StreamAddress | null {
  const stream = newestStream(events);
  if (stream === null) return null;
  const end = events.find(({ key, fold }) => key === streamKey(stream) && (fold === 'end' || fold === 'lapse'));
  const isOld = end !== undefined && now - (end.time ?? 0) > REPLAY_MS;
  return isOld ? null : { channel, stream };
}
