/** Connection badge: the client's status as colour, icon and text. */

const WORDS = {
  realtime: "Every change arrives through the WebSocket.",
  polling: "This page asks for changes regularly. No event is missed.",
  connecting: "Connecting to the server.",
  offline: "No answer for 30 seconds. Trying again.",
  error: "The server rejected this page.",
  paused: "Updates are paused.",
};

export class Badge {
  #element;
  #content = "";

  constructor(element) {
    this.#element = element;
  }

  /** Shows a state; a state without a label (`starting`) changes nothing. */
  show({ kind, label, reason }) {
    const content = `${kind}: ${reason}`;
    if (!label || content === this.#content) return;
    this.#content = content;
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
