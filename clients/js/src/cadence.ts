/** When a client polls: soon after an event, seldom when nobody looks; in milliseconds. Twin of cadence.py. */

import { round } from './numbers.js';

/** Between polls while things happen, and how long after an event they still do. */
export const BUSY_MS = 1_000;
export const BUSY_FOR_MS = 10_000;

/** Between polls of a page that nobody sees, or that has no network. */
export const IDLE_MS = 60_000;

/** By how much an interval varies either way, so that clients do not poll together. */
export const SPREAD = 0.2;

/** How long one poll may take. */
export const LIMIT_MS = 10_000;

/** The polls of one client: one in flight at most. */
export class Cadence {
  inFlight = false;
  idle = false;
  private asked: number | null = null;
  private lastEvent: number | null = null;

  /** `pollingInterval` is the application's choice. */
  constructor(private readonly pollingInterval: number) {}

  /** Note that a poll is on its way. */
  begin(): void {
    this.inFlight = true;
  }

  /** Note that it is over; `asked` is the wait that the server wishes: it wins. */
  end({ asked }: { asked: number | null }): void {
    this.inFlight = false;
    this.asked = asked;
  }

  /** Note that there was an event. */
  happened(now: number): void {
    this.lastEvent = now;
  }

  /** The milliseconds between polls now. */
  interval(now: number): number {
    if (this.asked !== null) return this.asked;
    if (this.idle) return Math.max(IDLE_MS, this.pollingInterval);
    if (this.lastEvent !== null && now - this.lastEvent < BUSY_FOR_MS) {
      return Math.min(BUSY_MS, this.pollingInterval);
    }
    return this.pollingInterval;
  }

  /** When to poll next. */
  next(now: number, draw: number): number {
    return now + round(this.interval(now) * (1 - SPREAD + 2 * SPREAD * draw));
  }
}
