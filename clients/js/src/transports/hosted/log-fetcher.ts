/** Reads events from the log over HTTP, several channels at once, and returns them as messages. */

import type { Fields, ServerMessage } from '../../messages.js';
import type { TransportTools } from '../transport.js';

export const FORBIDDEN = 403;

export interface LogFetcherListener {
  message(message: ServerMessage): void;
  /** Handle a failed request for these channels; `status` is 0 where no response arrived. */
  failed(channels: string[], status: number): void;
}

export class LogFetcher {
  private readonly _channels = new Set<string>();
  private readonly _stopped = new AbortController();
  private _timer: ReturnType<typeof setTimeout> | undefined;
  private _busy = false;

  constructor(
    private readonly _tools: TransportTools,
    private readonly _listener: LogFetcherListener,
  ) {}

  /** Request the events after our position; a `subscribed`, `reset` or `refused` message answers. */
  request(channel: string): void {
    this._channels.add(channel);
    if (!this._busy) this._timer ??= setTimeout(() => void this._fetch(), this._tools.timing.fetchBatchDelay);
  }

  stop(): void {
    clearTimeout(this._timer);
    this._stopped.abort();
  }

  private async _fetch(): Promise<void> {
    this._timer = undefined;
    this._busy = true;
    const channels = [...this._channels];
    this._channels.clear();
    try {
      const fields = await fetchLog(this._tools, channels, this._stopped.signal);
      this._forward(channels, fields);
    } catch (error) {
      const { status } = error as { status?: number | null };
      if (!this._stopped.signal.aborted) this._listener.failed(channels, status ?? 0);
    }
    this._busy = false;
    for (const channel of this._channels) this.request(channel);
  }

  private _forward(channels: string[], { channels: answers, generation }: Fields): void {
    for (const channel of channels) {
      const answer = (answers as Record<string, Fields | undefined>)[channel];
      for (const message of answer ? messagesOf(channel, answer) : []) this._listener.message(message);
    }
    this._listener.message({ type: 'heartbeat', offsets: {}, generation });
  }
}

/** Request the events after our positions in these channels; a hanging request is a failed one. */
export async function fetchLog(tools: TransportTools, channels: string[], signal: AbortSignal): Promise<Fields> {
  const all = tools.positions();
  const positions = channels.filter((name) => name in all).map((name) => [name, all[name] ?? null] as const);
  const answers: Record<string, unknown> = {};
  let fields: Fields = {};
  const controller = new AbortController();
  const abort = () => controller.abort();
  const timer = setTimeout(abort, tools.timing.fetchTimeout);
  signal.addEventListener('abort', abort);
  try {
    // A server limits the channels of one poll; without channels it still reports its generation.
    do {
      const body = { positions: Object.fromEntries(positions.splice(0, tools.channelLimit())) };
      const options = { body, token: tools.token(), signal: controller.signal };
      const response = await tools.request(tools.url('poll'), options);
      fields = (await response.json()) as Fields;
      Object.assign(answers, fields.channels);
    } while (positions.length);
    return { ...fields, channels: answers };
  } finally {
    clearTimeout(timer);
    signal.removeEventListener('abort', abort);
  }
}

/** Convert a poll's answer for one channel to messages. */
export function messagesOf(channel: string, answer: Fields): ServerMessage[] {
  if (answer.error) return [{ type: 'refused', channel, ...(answer.error as Fields) }];
  if (answer.reset === 'forbidden') return [{ type: 'refused', channel, code: FORBIDDEN, message: 'this user may not listen to it' }];
  const position = answer.position as Fields;
  const { events, more, reset } = answer;
  const page = { type: 'subscribed', channel, ...position, events, more };
  return reset ? [{ type: 'reset', channel, reason: reset, ...position }, page] : [page];
}
