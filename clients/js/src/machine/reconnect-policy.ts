/** Times at which a lost socket may be opened again; in milliseconds. Twin of reconnect_policy.py. */

import { CloseCode } from '../close-codes.js';
import { delay, spread } from './backoff.js';
import type { Timing } from './timing.js';

/** Close codes of a deployment: they show no fault of the connection. */
const PLANNED: readonly number[] = [CloseCode.RESTART, CloseCode.DRAINING, CloseCode.ROTATED];

/** Number of short connections after which the client polls for a while. */
const SHORT_UPTIMES = 3;

export interface ReconnectOptions {
  /** Upper bound of the first wait. */
  reconnectInterval: number;
  /** Failures in a row after which attempts slow down to one every 45 s. */
  maxAttempts: number;
}

/** End of a connection. */
export interface Drop {
  code?: number;
  /** Window of the server's `drain`, if it sent one. */
  window?: number | null;
  /** True if the server announced the end of a live connection: no failure. */
  planned?: boolean;
}

/** Record of earlier connections, and the schedule of the next one. */
export class ReconnectPolicy {
  failures = 0;
  private _step = 0;
  private _shortUptimes: number[] = [];
  private _nextBan: number;
  private _bannedUntil = 0;

  constructor(
    private readonly _options: ReconnectOptions,
    private readonly _timing: Timing,
  ) {
    this._nextBan = _timing.banMin;
  }

  /** Start the back-off again: the network returned, or a user asked for a retry. */
  reset(): void {
    this.failures = this._step = 0;
  }

  /**
   * Record the uptime of a live connection, and return whether it was stable.
   *
   * `confirmed`: a message arrived after `welcome`. Some proxies pass the first messages alone.
   */
  recordUptime(since: number, now: number, { confirmed }: { confirmed: boolean }): boolean {
    if (now - since < this._timing.stableUptime) return false;
    this._nextBan = this._timing.banMin;
    if (confirmed) this.reset();
    return true;
  }

  /** Record the loss of a live connection. */
  recordDrop(since: number, now: number, { confirmed }: { confirmed: boolean }): void {
    if (this.recordUptime(since, now, { confirmed })) return;
    const recent = this._shortUptimes.filter((at) => now - at < this._timing.shortUptimeWindow);
    this._shortUptimes = [...recent, now];
    // Something on the way opens connections and then cuts them: polling works better there.
    if (this._shortUptimes.length >= SHORT_UPTIMES) {
      this._shortUptimes = [];
      this.pause(now);
    }
  }

  /** Begin a pause; each later one is twice as long, until a connection is stable. */
  pause(now: number): void {
    this._bannedUntil = now + this._nextBan;
    this._nextBan = Math.min(this._timing.banMax, 2 * this._nextBan);
  }

  /** End a pause: the server has another configuration. */
  endPause(): void {
    this._bannedUntil = 0;
  }

  /** Record a failure, and return the time of the next attempt. */
  next(now: number, draw: number, { code = CloseCode.ABNORMAL, window = null, planned = false }: Drop = {}): number {
    if (!planned) this.failures += 1;
    if (code === CloseCode.TOO_MANY) this._bannedUntil = now + this._timing.connectionLimitBan;
    return Math.max(this._bannedUntil, now + this._wait(draw, code, window));
  }

  /** Return a random time within `within`, so that clients do not connect all at once. */
  soon(now: number, draw: number, within: number): number {
    return Math.max(this._bannedUntil, now + Math.round(draw * within));
  }

  /** Return the wait of the next step of the back-off. */
  backoff(draw: number): number {
    const base = this._options.reconnectInterval / 1_000;
    const [floor, cap] = [this._timing.backoffMin / 1_000, this._timing.backoffMax / 1_000];
    const wait = delay(this._step, draw, { base, floor, cap });
    this._step += 1;
    return Math.round(wait * 1_000);
  }

  private _wait(draw: number, code: number, window: number | null): number {
    const { slowReconnect, restartSpread } = this._timing;
    if (this.failures >= this._options.maxAttempts) return Math.round(spread(slowReconnect, draw));
    // All clients of a server that restarts lose their connection together.
    return isRestart(code) ? Math.round(draw * (window ?? restartSpread)) : this.backoff(draw);
  }
}

/** Return whether a deployment ends connections by this close code. */
export function isPlanned(code: number): boolean {
  return PLANNED.includes(code);
}

/** Return whether the server asked for a reconnect by this close code. */
function isRestart(code: number): boolean {
  return code === CloseCode.RESTART || (code >= CloseCode.INTERNAL && code <= 4599);
}
