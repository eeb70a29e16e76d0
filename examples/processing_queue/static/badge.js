/** Says how this page is kept up to date, by colour, icon and words: what the client's state says. */

const WORDS = {
  realtime: "Every change arrives through the WebSocket.",
  polling: "This page asks what has changed, and misses nothing.",
  connecting: "Getting up to date.",
  offline: "Nothing heard for 30 seconds, trying again.",
  error: "The server refuses this page.",
  paused: "Nothing is asked for.",
};

export class Badge {
  #element;
  #shown = "";

  constructor(element) {
    this.#element = element;
  }

  /** A state without a label (`starting`) has nothing to say yet: what was shown stays. */
  show({ kind, label, reason }) {
    const shown = `${kind}: ${reason}`;
    if (!label || shown === this.#shown) return;
    this.#shown = shown;
    this.#element.dataset.status = kind;
    this.#part("use").setAttribute("href", `#icon-${kind}`);
    this.#part(".label").textContent = label;
    this.#part(".words").textContent = WORDS[kind];
    this.#part(".reason").textContent = reason ? `Reason: ${reason}.` : "";
  }

  #part(selector) {
    return this.#element.querySelector(selector);
  }
}
