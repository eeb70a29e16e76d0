/** Says how this page is kept up to date, by colour, icon and words. */

const POLLED_WITHIN = 15_000;
const GRACE = 1_500;
const OFFLINE_AFTER = 30_000;

const WORDS = {
  realtime: ["Real-time", "Every change arrives through the WebSocket."],
  polling: ["Polling", "No socket: this page asks what has changed, and misses nothing."],
  connecting: ["Connecting", "Looking for the server."],
  offline: ["Offline", "Nothing heard for 30 seconds, trying again."],
};

/** What the facts of a connection come to, `now`. */
export function status({ live, upToDate, changedAt, polledAt }, now) {
  if (upToDate) return "realtime";
  if (now - polledAt < POLLED_WITHIN) return "polling";
  const heardAt = live ? now : Math.max(changedAt, polledAt);
  return now - heardAt < OFFLINE_AFTER ? "connecting" : "offline";
}

export class Badge {
  #element;
  #shown = null;

  constructor(element) {
    this.#element = element;
  }

  show(connection) {
    const now = performance.now();
    const found = status(connection, now);
    const brief = found === "connecting" && now - connection.changedAt < GRACE;
    if (found === this.#shown || (brief && this.#shown)) return;
    this.#shown = found;
    const [label, words] = WORDS[found];
    this.#element.dataset.status = found;
    this.#element.querySelector("use").setAttribute("href", `#icon-${found}`);
    this.#element.querySelector(".label").textContent = label;
    this.#element.querySelector(".words").textContent =
      found === "offline" && connection.problem ? `${words} ${connection.problem}.` : words;
  }
}
