/** One channel's events, each once and in order, whatever way and however often they arrive. */

const CAPACITY = 256;

export class Reducer {
  /** The place of the last event that was handed out: {epoch, offset, id}, or null before a start. */
  position = null;
  #held = new Map();

  /** Goes on from a snapshot's position (null: none yet, hold what comes); returns what follows it. */
  start(position) {
    this.position = position;
    for (const [key, event] of this.#held) {
      if (position && (event.epoch !== position.epoch || event.offset <= position.offset)) {
        this.#held.delete(key);
      }
    }
    return this.#next();
  }

  /** Takes one event, and returns those that can be handed out now. */
  take(event) {
    const { position } = this;
    const known = position && event.epoch === position.epoch && event.offset <= position.offset;
    if (!known && this.#held.size < CAPACITY) this.#held.set(key(event), event);
    return this.#next();
  }

  /** Whether events were held back because others before them are missing. */
  get gap() {
    return this.position !== null && this.#held.size > 0;
  }

  #next() {
    const events = [];
    while (this.position) {
      const { epoch, offset } = this.position;
      const event = this.#held.get(key({ epoch, offset: offset + 1 }));
      if (!event) break;
      this.#held.delete(key(event));
      this.position = { epoch, offset: event.offset, id: event.id };
      events.push(event);
    }
    return events;
  }
}

function key({ epoch, offset }) {
  return `${epoch}:${offset}`;
}
