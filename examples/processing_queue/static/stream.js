/** A snapshot, then every event after it. */

import { Reducer } from "./reducer.js";

export class Stream {
  /** Called when the log has more than arrived here: whoever can, asks for it. */
  onbehind = () => {};
  #reducer = new Reducer();
  #load;
  #apply;
  #loading = null;

  /** `load` shows a new snapshot and returns its position; `apply` gets one event at a time. */
  constructor(channel, { load, apply }) {
    this.channel = channel;
    this.#load = load;
    this.#apply = apply;
  }

  get position() {
    return this.#reducer.position;
  }

  load() {
    this.#loading ??= this.#restart().finally(() => (this.#loading = null));
    return this.#loading;
  }

  take(events) {
    for (const event of events) this.#reducer.take(event).forEach(this.#apply);
    if (this.#reducer.gap) this.onbehind();
  }

  /** Takes the server's word that the channel has come to `offset`. */
  reached(offset) {
    if (this.position && offset > this.position.offset) this.onbehind();
  }

  /** There is no contiguous way on from here: begin again with a snapshot. */
  reset() {
    this.#reducer.start(null);
    return this.load();
  }

  async #restart() {
    const position = await this.#load();
    this.#reducer.start(position).forEach(this.#apply);
    this.onbehind();
  }
}
