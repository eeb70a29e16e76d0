/**
 * The same frames as Server-Sent Events, for where sockets do not pass: a POST that goes on.
 * It is loaded where it is wanted, so it imports nothing: what others have too, it is given.
 */

import type { ClientFrame, Frame } from '../messages.js';
import { ABNORMAL } from './transport.js';
import type { Link, LinkHandlers, LinkTools } from './transport.js';
import type { Position } from '../types.js';

const CODES: Readonly<Record<number, number>> = { 401: 4401, 403: 4403, 429: 4503, 503: 4503 };

/**
 * A server-sent stream shaped like a socket. Only the server speaks on it, so a subscription that
 * changes is a new request, with the positions of all channels.
 */
export class StreamLink implements Link {
  private _request: AbortController | null = null;
  private _closed = false;
  private _token = '';
  private _nonce = '';
  private _heard = 0;
  private _code = ABNORMAL;
  private _restarting = false;
  /** What the request under way asked for and was not answered yet, as JSON. */
  private _asked = new Map<string, string>();

  constructor(
    private readonly _tools: LinkTools,
    private readonly _handlers: LinkHandlers,
  ) {
    queueMicrotask(() => this._closed || _handlers.opened());
  }

  send(frame: ClientFrame): void {
    if (frame.type === 'connect') this._connect(frame);
    else if (frame.type === 'token') this._renew(frame.token);
    else if (frame.type === 'subscribe') this._subscribe(frame.channel, frame.position ?? null);
    else if (frame.type === 'ping') this._ping(frame.nonce);
  }

  close(): void {
    this._closed = true;
    this._request?.abort();
  }

  private _connect({ token, nonce }: { token: string; nonce: string }): void {
    this._token = token;
    this._nonce = nonce;
    void this._stream();
  }

  private _subscribe(channel: string, position: Position | null): void {
    if (this._asked.get(channel) !== JSON.stringify(position)) this._restart();
  }

  /** The server ends a stream whose token has expired, so the next one begins before. */
  private _renew(token: string): void {
    this._token = token;
    this._restart();
  }

  private _restart(): void {
    if (this._restarting) return;
    this._restarting = true;
    queueMicrotask(() => this._closed || void this._stream());
  }

  /** Nothing can be asked on a stream; its heartbeats tell. */
  private _ping(nonce: string): void {
    if (Date.now() - this._heard < this._tools.timing.sseFreshness) {
      queueMicrotask(() => this._closed || this._handlers.frame({ type: 'pong', nonce }));
    }
  }

  private async _stream(): Promise<void> {
    this._restarting = false;
    this._request?.abort();
    const request = (this._request = new AbortController());
    const { signal } = request;
    const positions = this._tools.positions();
    this._asked = new Map(Object.entries(positions).map(([name, at]) => [name, JSON.stringify(at)]));
    try {
      const body = { positions };
      const accept = 'text/event-stream';
      const response = await this._tools.ask(this._tools.url('sse'), { body, token: this._token, accept, signal });
      const kind = response.headers.get('content-type');
      if (!kind?.startsWith(accept)) throw new Error('the answer is no stream');
      for await (const data of readData(response, signal)) this._receive(data);
      throw new Error('the stream ended');
    } catch (error) {
      if (signal.aborted || this._closed) return;
      this.close();
      this._handlers.closed(CODES[(error as { status?: number }).status ?? 0] ?? this._code, String(error));
    }
  }

  private _receive(data: string): void {
    if (this._closed) return;
    const frame = this._tools.parse(data);
    this._heard = Date.now();
    if (frame.type === 'subscribed' || frame.type === 'refused') {
      this._asked.delete(String(frame.channel));
    }
    if (frame.type === 'error') this._code = Number(frame.code);
    this._handlers.frame(frame.type === 'welcome' ? this._welcome(frame) : frame);
  }

  /** The answer to our own request needs no nonce to be told from an older one. */
  private _welcome(frame: Frame): Frame {
    return { ...frame, nonce: this._nonce };
  }
}

/** The `data` of each event of a stream; several lines of one event are joined. */
export async function* readData(
  response: Response,
  signal: AbortSignal,
): AsyncGenerator<string, void> {
  const reader = response.body?.getReader();
  if (!reader) return;
  const decoder = new TextDecoder();
  let rest = '';
  for (;;) {
    const { done, value } = await reader.read();
    if (done || signal.aborted) return;
    const blocks = (rest + decoder.decode(value, { stream: true })).split(/\r\n\r\n|\n\n|\r\r/);
    rest = blocks.pop() ?? '';
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
