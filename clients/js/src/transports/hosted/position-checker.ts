/** Whether a provider delivers all there is: positions are compared with the log's, now and then. */

import type { Fields, Frame } from '../../messages.js';
import type { LinkTools } from '../transport.js';
import { pollOf } from './log-fetcher.js';

export interface ChecksListener {
  channels(): string[];
  frame(frame: Frame): void;
  /** Twice the log had moved, and nothing had come of it. */
  useless(): void;
}

const SPREAD = 0.2;

/** The furthest that a channel can have moved: the log has to be asked where it is. */
const ELSEWHERE = Number.MAX_SAFE_INTEGER;

export class Checks {
  private _timer: ReturnType<typeof setTimeout> | undefined;
  private _stopped = new AbortController();
  private _pushed = false;
  private _missed = -Infinity;

  constructor(
    private readonly _tools: LinkTools,
    private readonly _listener: ChecksListener,
  ) {}

  start(): void {
    const wait = this._tools.timing.positionCheckInterval * (1 - SPREAD + 2 * SPREAD * Math.random());
    this._timer = setTimeout(() => void this._check().finally(() => this._again()), wait);
  }

  stop(): void {
    clearTimeout(this._timer);
    this._stopped.abort();
  }

  /** An event came. */
  pushed(): void {
    this._pushed = true;
  }

  private _again(): void {
    if (!this._stopped.signal.aborted) this.start();
  }

  private async _check(): Promise<void> {
    const channels = this._listener.channels();
    if (this._tools.isHidden() || !channels.length) return;
    let fields: Fields;
    try {
      fields = await pollOf(this._tools, channels, this._stopped.signal);
    } catch {
      return; // The polls of whoever misses something will tell.
    }
    const offsets = this._moved(fields.channels as Record<string, Fields>);
    const silent = !this._pushed && Object.keys(offsets).length > 0;
    this._pushed = false;
    this._listener.frame({ type: 'heartbeat', offsets, generation: fields.generation });
    this._listener.frame({ type: 'status', ...(fields.status as Fields) });
    if (silent) this._timer = setTimeout(() => this._judge(), this._tools.timing.lateEventAllowance);
  }

  /** The channels that are further in the log than here, and how far. */
  private _moved(answers: Record<string, Fields>): Record<string, number> {
    const moved = Object.entries(answers).filter(([, { events, reset }]) => reset || (events as unknown[])?.length);
    return Object.fromEntries(
      moved.map(([name, { position, reset }]) => [
        name,
        reset ? ELSEWHERE : Number((position as Fields).offset),
      ]),
    );
  }

  private _judge(): void {
    if (this._pushed) return;
    const now = performance.now();
    if (now - this._missed < this._tools.timing.missedEventWindow) this._listener.useless();
    this._missed = now;
  }
}
