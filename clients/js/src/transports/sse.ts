/**
 * Transport by Server-Sent Events, for networks that block WebSockets: a POST with an endless
 * response. The file is loaded on demand; it gets the client's code as `TransportTools`.
 */

import { CloseCode } from '../close-codes.js';
import type { ClientMessage, ServerMessage } from '../messages.js';
import type { Position } from '../types.js';
import type { OpenTransport, Transport, TransportHandlers, TransportTools } from './transport.js';

/** Close code for each HTTP status of a response. */
const CODES: Readonly<Record<number, number>> = {
  401: CloseCode.TOKEN,
  403: CloseCode.FORBIDDEN,
  429: CloseCode.DRAINING,
  503: CloseCode.DRAINING,
};

/**
 * Connection by a server-sent stream. Messages travel only from the server, so a changed
 * subscription needs a new request, with the positions of all channels.
 */
export class SSETransport implements Transport {
  private _controller: AbortController | null = null;
  private _closed = false;
  private _token = '';
  private _nonce = '';
  private _lastMessage = 0;
  private _code: number = CloseCode.ABNORMAL;
  private _restarting = false;
  /** Positions that the current request contained and the server has not answered, as JSON. */
  private _requested = new Map<string, string>();

  constructor(
    private readonly _tools: TransportTools,
    private readonly _handlers: TransportHandlers,
  ) {
    // Not at once: the caller has no reference to this transport before the constructor returns.
    queueMicrotask(() => this._closed || _handlers.opened());
  }

  send(message: ClientMessage): void {
    if (message.type === 'connect') this._connect(message);
    else if (message.type === 'token') this._renew(message.token);
    else if (message.type === 'subscribe') this._subscribe(message.channel, message.position ?? null);
    else if (message.type === 'ping') this._ping();
  }

  close(): void {
    this._closed = true;
    this._controller?.abort();
  }

  private _connect({ token, nonce }: { token: string; nonce: string }): void {
    this._token = token;
    this._nonce = nonce;
    void this._stream();
  }

  private _subscribe(channel: string, position: Position | null): void {
    if (this._requested.get(channel) !== JSON.stringify(position)) this._restart();
  }

  /** Start another stream before the server ends this one, whose token expires. */
  private _renew(token: string): void {
    this._token = token;
    this._restart();
  }

  /** Send one request for all subscriptions of the same moment. */
  private _restart(): void {
    if (this._restarting) return;
    this._restarting = true;
    queueMicrotask(() => this._closed || void this._stream());
  }

  /** Answer a ping from the last message: a stream transports nothing to the server. */
  private _ping(): void {
    if (Date.now() - this._lastMessage < this._tools.timing.sseFreshness) {
      queueMicrotask(() => this._closed || this._handlers.message({ type: 'pong' }));
    }
  }

  private async _stream(): Promise<void> {
    this._restarting = false;
    this._controller?.abort();
    const controller = (this._controller = new AbortController());
    const { signal } = controller;
    const positions = this._tools.positions();
    this._requested = new Map(Object.entries(positions).map(([name, position]) => [name, JSON.stringify(position)]));
    try {
      const body = { positions };
      const accept = 'text/event-stream';
      const response = await this._tools.request(this._tools.url('sse'), { body, token: this._token, accept, signal });
      const kind = response.headers.get('content-type');
      // A proxy may answer with a page of its own.
      if (!kind?.startsWith(accept)) throw new Error(`expected an event stream, got ${kind}`);
      for await (const data of readData(response, signal)) {
        // Answers for positions before a poll or an event: the next stream has others.
        if (!this._restarting && !signal.aborted) this._receive(data);
      }
      throw new Error('the stream ended');
    } catch (error) {
      if (signal.aborted || this._closed) return;
      const { status, code } = error as { status?: number | null; code?: string | null };
      // HTTP refuses where a WebSocket would send `error` before it closes.
      if (code) this._handlers.message({ type: 'error', code: status, reason: code, message: String(error) });
      this.close();
      this._handlers.closed(CODES[status ?? 0] ?? this._code, String(error));
    }
  }

  private _receive(data: string): void {
    if (this._closed) return;
    const message = this._tools.parse(data);
    this._lastMessage = Date.now();
    if (message.type === 'subscribed' || message.type === 'refused') {
      this._requested.delete(String(message.channel));
    }
    if (message.type === 'error') this._code = Number(message.code);
    this._handlers.message(message.type === 'welcome' ? this._welcome(message) : message);
  }

  /**
   * Add our nonce to `welcome`: it belongs to our own request, so the server sends none. Another
   * server may answer, whose clock differs.
   */
  private _welcome(message: ServerMessage): ServerMessage {
    return { ...message, nonce: this._nonce, restarted: true };
  }
}

export const open: OpenTransport = (tools, handlers) => new SSETransport(tools, handlers);

const BLOCK_END = /\r\n\r\n|\n\n|\r\r/;

/** Yield the `data` of each event of a stream, with its lines joined. */
export async function* readData(
  response: Response,
  signal: AbortSignal,
): AsyncGenerator<string, void> {
  const reader = response.body?.getReader();
  if (!reader) return;
  const decoder = new TextDecoder();
  let rest = '';
  let tail = '';
  for (;;) {
    const { done, value } = await reader.read();
    if (done || signal.aborted) return;
    const piece = decoder.decode(value, { stream: true });
    const seam = tail + piece;
    rest += piece;
    tail = seam.slice(-3);
    // An event of many pieces is searched once: a large page would take seconds otherwise.
    if (!BLOCK_END.test(seam)) continue;
    const blocks = rest.split(BLOCK_END);
    // The last block is incomplete: it waits for the next piece.
    rest = blocks.pop() ?? '';
    tail = rest.slice(-3);
    for (const block of blocks) {
      const data = dataOf(block);
      if (data) yield data;
    }
  }
}

function dataOf(block: string): string {
  const lines = block.split(/\r\n|\n|\r/).filter((line) => line.startsWith('data:'));
  return lines.map((line) => line.slice(5).replace(/^ /, '')).join('\n');
}
