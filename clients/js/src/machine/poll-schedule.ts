/** When a client polls: soon after an event, seldom when nobody looks; in milliseconds. Twin of cadence.py. */

import type { Timing } from './timing.js';

/** By how much an interval varies either way, so that clients do not poll together. */
export const SPREAD = 0.2;

/** HTTP's words for "less often": without a number they mean twice the interval. */
export const SLOW_DOWN = [429, 503];

export interface Failure {
  status?: number | null;
  /** In milliseconds. */
  retryAfter?: number | null;
}

/** The polls of one client: one in flight at most. */
export class Cadence {
  inFlight = false;
  hidden = false;
  offline = false;
  private _asked: number | null = null;
  private _lastEvent: number | null = null;
  private _failing = false;
  private _notBefore = 0;

  /** `pollingInterval` is the application's choice. */
  constructor(
    private readonly _pollingInterval: number,
    private readonly _timing: Timing,
  ) {}

  /** The milliseconds between polls when nothing happens. */
  get usual(): number {
    const usual = Math.max(this._asked ?? 0, this._pollingInterval);
    return this.hidden ? Math.max(this._timing.idleInterval, usual) : usual;
  }

  /** Note that a poll is on its way. */
  begin(): void {
    this.inFlight = true;
  }

  /** Note that it was answered; `asked` is the wait that the server wishes: it wins. */
  answered(asked: number | null): void {
    this.inFlight = this._failing = false;
    this._asked = asked === null ? null : Math.min(this._timing.requestedIntervalMax, Math.max(this._timing.requestedIntervalMin, asked));
  }

  /** Note that it failed: the next one is in no hurry, and not before what the server says. */
  failed(now: number, draw: number, { status = null, retryAfter = null }: Failure = {}): void {
    this.inFlight = false;
    this._failing = true;
    const slower = status !== null && SLOW_DOWN.includes(status) ? 2 * this._pollingInterval : null;
    const wait = retryAfter ?? slower;
    if (wait === null) return;
    this._notBefore = now + Math.round(Math.min(this._timing.requestedIntervalMax, wait) * (1 + SPREAD * draw));
  }

  /** Note that there was an event. */
  eventReceived(now: number): void {
    this._lastEvent = now;
  }

  /** The milliseconds between polls now. */
  interval(now: number): number {
    const busy = Math.min(this._timing.busyInterval, this._pollingInterval);
    const interval = this._asked ?? (this._busy(now) ? busy : this._pollingInterval);
    return this.hidden || this.offline ? Math.max(this._timing.idleInterval, interval) : interval;
  }

  /** When to poll next. */
  next(now: number, draw: number): number {
    const wait = Math.round(this.interval(now) * (1 - SPREAD + 2 * SPREAD * draw));
    return Math.max(this._notBefore, now + wait);
  }

  /** When to poll, if it shall be within so long, at random. */
  soon(now: number, draw: number, within: number): number {
    return Math.max(this._notBefore, now + Math.round(draw * within));
  }

  private _busy(now: number): boolean {
    return this._lastEvent !== null && now - this._lastEvent < this._timing.busyPeriod && !this._failing;
  }
}
