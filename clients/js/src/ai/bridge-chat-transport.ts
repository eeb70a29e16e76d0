/** Transport of the AI SDK's chats whose answers a worker streams. */

import type { ChatTransport, UIMessage, UIMessageChunk } from 'ai';
import { report } from '../browser/report.js';
import { askForStream } from '../streams/ask.js';
import { findStream } from '../streams/find-stream.js';
import { readStream } from '../streams/read-stream.js';
import { stopOnceKnown } from '../streams/stop-once-known.js';
import type { StreamAddress } from '../streams/find-stream.js';
import { StreamRestartedError } from '../streams/stream-restarted-error.js';
import type { Client, Stream } from '../types.js';
import { ChunkReader } from './chunk-reader.js';

/** Time in which a chat resumes a stream that it aborted, in milliseconds: React's StrictMode does so at once. */
const RESUME_MS = 100;

export interface BridgeChatTransportOptions {
  /** Client of the page, such as that of `useClient()`. */
  readonly client: Client;
  /** Channel of a chat's streams; or the stream that a worker will begin, where the application knows it. */
  readonly channelOf: (chatId: string) => string | StreamAddress;
  /** URL of the application that gets a chat's messages and answers `{channel, stream}`; `/api/chat` by default. */
  readonly api?: string;
}

/**
 * Give it to the chat itself, `new Chat({ transport })`: `useChat({ transport })` ignores that resumed
 * streams begin with their first chunk. The id of a message is the id of its stream.
 */
export class BridgeChatTransport<Message extends UIMessage = UIMessage> implements ChatTransport<Message> {
  readonly resumeStreamIsReplay = true;
  private readonly _api: string;
  /** Number of the last resume of each chat. */
  private readonly _resumes = new Map<string, number>();
  /** Stream of each chat that another attempt has begun again: the chat resumes it, whatever is newer. */
  private readonly _restarted = new Map<string, StreamAddress>();

  constructor(private readonly _options: BridgeChatTransportOptions) {
    this._api = _options.api ?? '/api/chat';
  }

  /** Post the messages, and return the chunks of the answer's stream. An abort stops the stream. */
  async sendMessages(options: Parameters<ChatTransport<Message>['sendMessages']>[0]): Promise<ReadableStream<UIMessageChunk>> {
    const { chatId, messages, trigger, messageId, headers, body, abortSignal } = options;
    // Without the signal: an aborted request may have queued the answer, without its id there is no way to stop it.
    const address = await askForStream(this._api, { ...body, id: chatId, messages, trigger, messageId }, headers);
    return this._read(chatId, address, abortSignal);
  }

  /** Return the chunks of a chat's newest stream from the first one; null where it ended more than a minute ago. */
  async reconnectToStream(options: Parameters<ChatTransport<Message>['reconnectToStream']>[0]): Promise<ReadableStream<UIMessageChunk> | null> {
    const { chatId, abortSignal } = options;
    this._resumes.set(chatId, (this._resumes.get(chatId) ?? 0) + 1);
    const place = this._restarted.get(chatId) ?? this._options.channelOf(chatId);
    this._restarted.delete(chatId);
    const address = typeof place === 'string' ? await findStream(this._options.client, place, abortSignal) : place;
    return address && this._read(chatId, address, abortSignal);
  }

  private _read(chatId: string, address: StreamAddress, signal?: AbortSignal): ReadableStream<UIMessageChunk> {
    const source = this._options.client.stream<unknown>(address.channel, address.stream);
    let close = (): void => {};
    return new ReadableStream({
      start: (controller) => {
        const stop = (): void => void this._stopUnlessResumed(chatId, source).catch(report);
        // A chat also aborts what it has read to the end.
        const end = (call: () => void): void => {
          signal?.removeEventListener('abort', stop);
          call();
        };
        if (signal?.aborted) stop();
        else signal?.addEventListener('abort', stop);
        close = readStream(source, new ChunkReader(), {
          next: (chunk: UIMessageChunk) => controller.enqueue(chunk),
          error: (error) => {
            if (error instanceof StreamRestartedError) this._restarted.set(chatId, address);
            end(() => controller.error(error));
          },
          complete: () => end(() => controller.close()),
        });
      },
      cancel: () => close(),
    });
  }

  /** Stop a stream after an abort, unless the chat has resumed it meanwhile: then the abort ended the reading alone. */
  private async _stopUnlessResumed(chatId: string, source: Stream<unknown>): Promise<void> {
    const resumes = this._resumes.get(chatId);
    await new Promise((resolve) => setTimeout(resolve, RESUME_MS));
    if (this._resumes.get(chatId) === resumes) await stopOnceKnown(source);
  }
}
