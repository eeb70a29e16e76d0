/** Times of a client's polls; in milliseconds. Twin of poll_schedule.py. */

import { spread } from './backoff.js';
import type { Timing } from './timing.js';

/** HTTP statuses that ask for fewer requests: without `Retry-After` they double the interval. */
const SLOW_DOWN = [429, 503];

export interface PollFailure {
  /** HTTP status; null: no response. */
  status?: number | null;
  /** Wait that the server asked for. */
  retryAfter?: number | null;
}

/** Schedule of one client's polls, with at most one poll in flight. */
export class PollSchedule {
  inFlight = false;
  hidden = false;
  offline = false;
  /** True after a failed poll, until another one succeeds. */
  failing = false;
  private _requested: number | null = null;
  private _lastEvent: number | null = null;
  private _notBefore = 0;

  /** `pollingInterval` is the application's choice. */
  constructor(
    private readonly _pollingInterval: number,
    private readonly _timing: Timing,
  ) {}

  /** Interval between polls while no events arrive. */
  get usual(): number {
    const usual = Math.max(this._requested ?? 0, this._pollingInterval);
    return this.hidden ? Math.max(this._timing.idleInterval, usual) : usual;
  }

  /** Record the start of a poll. */
  begin(): void {
    this.inFlight = true;
  }

  /** Record a poll's success; `requested` is the wait that the server asked for, and takes precedence. */
  answered(requested: number | null): void {
    const { requestedIntervalMin, requestedIntervalMax } = this._timing;
    this.inFlight = this.failing = false;
    // The limits keep a faulty server from stopping a client, or making it spin.
    this._requested =
      requested === null ? null : Math.min(requestedIntervalMax, Math.max(requestedIntervalMin, requested));
  }

  /** Record a poll's failure: the next poll uses the usual interval, or the server's `Retry-After`. */
  failed(now: number, draw: number, { status = null, retryAfter = null }: PollFailure = {}): void {
    this.inFlight = false;
    this.failing = true;
    const slower = status !== null && SLOW_DOWN.includes(status) ? 2 * this._pollingInterval : null;
    const wait = retryAfter ?? slower;
    if (wait === null) return;
    // Only later: the server asked for at least this wait.
    const limited = Math.min(this._timing.requestedIntervalMax, wait);
    this._notBefore = now + Math.round(limited * (1 + 0.2 * draw));
  }

  /** Record an event. */
  eventReceived(now: number): void {
    this._lastEvent = now;
  }

  /** Return the interval between polls at `now`. */
  interval(now: number): number {
    const busy = Math.min(this._timing.busyInterval, this._pollingInterval);
    const interval = this._requested ?? (this._isBusy(now) ? busy : this._pollingInterval);
    return this.hidden || this.offline ? Math.max(this._timing.idleInterval, interval) : interval;
  }

  /** Return the time of the next poll. */
  next(now: number, draw: number): number {
    return Math.max(this._notBefore, now + Math.round(spread(this.interval(now), draw)));
  }

  /** Return a random time for a poll within `within`. */
  soon(now: number, draw: number, within: number): number {
    return Math.max(this._notBefore, now + Math.round(draw * within));
  }

  private _isBusy(now: number): boolean {
    if (this._lastEvent === null || this.failing) return false;
    return now - this._lastEvent < this._timing.busyPeriod;
  }
}
