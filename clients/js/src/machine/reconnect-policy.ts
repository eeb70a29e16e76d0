/** When a lost socket may be tried again, given how earlier ones fared; in milliseconds. Twin of attempts.py. */

import { delay } from './backoff.js';
import type { Timing } from './timing.js';

/** So many short connections within so long: something in between opens and then kills them. */
export const SHORT_LIVES = 3;

/** The user has too many connections: this client polls for so long. */
export const CROWDED = 4409;

export interface AttemptsOptions {
  /** The upper bound of the first wait. */
  reconnectInterval: number;
  /** Failures in a row after which attempts slow to one a minute. */
  maxAttempts: number;
}

export interface Ending {
  code?: number;
  /** What a drain had announced. */
  window?: number | null;
}

/** What is remembered of earlier connections. */
export class Attempts {
  failures = 0;
  private _step = 0;
  private _shortLives: number[] = [];
  private _nextBan: number;
  private _bannedUntil = 0;

  constructor(
    private readonly _options: AttemptsOptions,
    private readonly _timing: Timing,
  ) {
    this._nextBan = _timing.banMin;
  }

  /** Begin anew: the network came back, or a person asked. */
  forget(): void {
    this.failures = this._step = 0;
  }

  /** Note how long a live connection has lasted, and tell whether that is long enough. */
  lived(since: number, now: number, { heard }: { heard: boolean }): boolean {
    if (now - since < this._timing.stableUptime) return false;
    this._nextBan = this._timing.banMin;
    if (heard) this.forget();
    return true;
  }

  /** Note that a live connection was lost. */
  died(since: number, now: number, { heard }: { heard: boolean }): void {
    if (this.lived(since, now, { heard })) return;
    this._shortLives = [...this._shortLives.filter((at) => now - at < this._timing.shortUptimeWindow), now];
    if (this._shortLives.length >= SHORT_LIVES) {
      this._shortLives = [];
      this._bannedUntil = now + this._nextBan;
      this._nextBan = Math.min(this._timing.banMax, 2 * this._nextBan);
    }
  }

  /** When to try again after a failure that ended with `code`. */
  next(now: number, draw: number, { code = 1006, window = null }: Ending = {}): number {
    this.failures += 1;
    if (code === CROWDED) this._bannedUntil = now + this._timing.connectionLimitBan;
    return Math.max(this._bannedUntil, now + this._wait(draw, code, window));
  }

  /** When to try again at once, but not all clients together. */
  soon(now: number, draw: number, within: number): number {
    return Math.max(this._bannedUntil, now + Math.round(draw * within));
  }

  /** The wait of the next step of the back-off. */
  backoff(draw: number): number {
    const wait = delay(this._step, draw, { base: this._options.reconnectInterval / 1_000 });
    this._step += 1;
    return Math.round(wait * 1_000);
  }

  private _wait(draw: number, code: number, window: number | null): number {
    if (this.failures >= this._options.maxAttempts) return Math.round(this._timing.slowReconnect * (0.8 + 0.4 * draw));
    if (code === 1012 || (code >= 4500 && code <= 4599)) {
      return Math.round(draw * (window ?? this._timing.restartSpread));
    }
    return this.backoff(draw);
  }
}
