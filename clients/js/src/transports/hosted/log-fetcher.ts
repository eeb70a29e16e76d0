/** What only the log knows, asked by HTTP for several channels at once, and told as frames. */

import type { Fields, Frame } from '../../messages.js';
import type { LinkTools } from '../transport.js';

export interface LogPollsListener {
  frame(frame: Frame): void;
  /** Nothing is known of these; `status` is 0 where there was no answer. */
  failed(channels: string[], status: number): void;
}

export class LogPolls {
  private readonly _wanted = new Set<string>();
  private readonly _stopped = new AbortController();
  private _timer: ReturnType<typeof setTimeout> | undefined;
  private _busy = false;

  constructor(
    private readonly _tools: LinkTools,
    private readonly _listener: LogPollsListener,
  ) {}

  /** Ask for what follows our position there; `subscribed`, `reset` or `refused` answers. */
  ask(channel: string): void {
    this._wanted.add(channel);
    if (!this._busy) this._timer ??= setTimeout(() => void this._poll(), this._tools.timing.fetchBatchDelay);
  }

  stop(): void {
    clearTimeout(this._timer);
    this._stopped.abort();
  }

  private async _poll(): Promise<void> {
    this._timer = undefined;
    this._busy = true;
    const channels = [...this._wanted];
    this._wanted.clear();
    try {
      const fields = await pollOf(this._tools, channels, this._stopped.signal);
      this._tell(channels, fields);
    } catch (error) {
      const { status = 0 } = error as { status?: number };
      if (!this._stopped.signal.aborted) this._listener.failed(channels, status);
    }
    this._busy = false;
    for (const channel of this._wanted) this.ask(channel);
  }

  private _tell(channels: string[], { channels: answers, status, generation }: Fields): void {
    for (const channel of channels) {
      const said = (answers as Record<string, Fields | undefined>)[channel];
      for (const frame of said ? framesOf(channel, said) : []) this._listener.frame(frame);
    }
    this._listener.frame({ type: 'status', ...(status as Fields) });
    this._listener.frame({ type: 'heartbeat', offsets: {}, generation });
  }
}

/** Ask for what follows our positions in these channels. */
export async function pollOf(tools: LinkTools, channels: string[], signal: AbortSignal): Promise<Fields> {
  const all = tools.positions();
  const positions = Object.fromEntries(
    channels.filter((name) => name in all).map((name) => [name, all[name] ?? null]),
  );
  const request = { body: { positions }, token: tools.token(), signal };
  const response = await tools.ask(tools.url('poll'), request);
  return (await response.json()) as Fields;
}

/** An answer for one channel, in the words of a socket. */
function framesOf(channel: string, said: Fields): Frame[] {
  if (said.error) return [{ type: 'refused', channel, ...(said.error as Fields) }];
  if (said.reset === 'forbidden') {
    return [{ type: 'refused', channel, code: 403, message: 'this user may not listen to it' }];
  }
  const place = said.position as Fields;
  const { events, more, reset } = said;
  const page = { type: 'subscribed', channel, ...place, events, more };
  return reset ? [{ type: 'reset', channel, reason: reset, ...place }, page] : [page];
}
