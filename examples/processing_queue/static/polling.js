/** Asks again and again, one question at a time, for as long as there is a need. */

const AFTER_FAILURE = 5_000;

export class Polling {
  #poll;
  #timer = null;
  #asking = false;

  /** `poll` asks once, and returns the milliseconds until the next time, or null for never. */
  constructor(poll) {
    this.#poll = poll;
  }

  get running() {
    return this.#asking || this.#timer !== null;
  }

  /** Asks after some milliseconds, or earlier if that was planned. */
  start(after = 0) {
    if (!this.running) this.#plan(after);
  }

  /** Asks now instead of later. */
  hurry() {
    if (this.#asking) return;
    clearTimeout(this.#timer);
    this.#plan(0);
  }

  #plan(after) {
    this.#timer = setTimeout(() => this.#ask(), after * (0.8 + 0.4 * Math.random()));
  }

  async #ask() {
    this.#timer = null;
    this.#asking = true;
    const next = await this.#poll().catch(() => AFTER_FAILURE);
    this.#asking = false;
    if (next !== null) this.#plan(next);
  }
}
