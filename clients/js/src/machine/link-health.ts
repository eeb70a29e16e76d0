/** Health of one socket, as far as the messages on that socket show it. Twin of link_health.py. */

/** Health of one socket; nothing but that socket changes it. Times are in milliseconds. */
export class LinkHealth {
  /** True while the server reports that its log or backend is down. */
  down = false;
  /** True while the answer to a question is overdue. */
  overdue = false;
  /** True while messages take longer than usual. */
  lagging = false;
  private _quickest: number | null = null;

  /** Reason why events do not arrive in time by this socket; null while they do. */
  get trouble(): string | null {
    if (this.down) return 'the server reports that its log or backend is down';
    if (this.overdue) return 'the server does not answer in time';
    return this.lagging ? 'messages arrive late' : null;
  }

  /** True after a message that had its time. */
  get timed(): boolean {
    return this._quickest !== null;
  }

  /**
   * Compare the travel time of a message with that of the quickest one. The clocks of both sides
   * differ by an unknown constant, so only differences count: the link lags from `limit`.
   */
  measure(now: number, sent: number, limit: number): void {
    const travel = now - sent;
    this._quickest = Math.min(travel, this._quickest ?? travel);
    this.lagging = travel - this._quickest >= limit;
  }

  /**
   * Forget the quickest message: the clock of another server follows, or the link is quick. Clocks
   * drift apart in days. A quick answer shows that the link does not lag after all.
   */
  restartClock(): void {
    this._quickest = null;
    this.lagging = false;
  }
}
