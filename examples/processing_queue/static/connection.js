/** Keeps a stream up to date: by a socket when there is one, else by polling. */

import { delay } from "./backoff.js";
import { Polling } from "./polling.js";
import { Socket } from "./socket.js";

const SLOW = 2_500;
const STEADY = 10_000;
const RENEW_AT = 0.8;
const DRAINED = (code) => code === 1012 || (code >= 4500 && code < 4600);
const FINAL = new Set([4400, 4403, 4409, 4410]);

export class Connection {
  live = false;
  isCut = false;
  changedAt = performance.now();
  polledAt = -Infinity;
  problem = null;
  #bridge;
  #stream;
  #onchange;
  #socket = null;
  #opening = false;
  #subscribing = false;
  #healthy = true;
  #failures = 0;
  #reopening;
  #renewing;
  #polling = new Polling(() => this.#poll());

  constructor(bridge, stream, onchange) {
    this.#bridge = bridge;
    this.#stream = stream;
    this.#onchange = onchange;
    stream.onbehind = () => this.#subscribe();
  }

  start() {
    this.#open();
    this.#stream.load().catch(() => this.#polling.start());
    setTimeout(() => this.upToDate || this.#polling.start(), SLOW);
  }

  /** Whether everything that is appended reaches us without asking. */
  get upToDate() {
    return this.live && this.#healthy && this.#stream.position !== null;
  }

  /** Ends the socket as a network would, and keeps it from coming back. */
  cut() {
    this.isCut = true;
    this.#socket?.end();
    this.#polling.hurry();
  }

  restore() {
    this.isCut = false;
    this.#open();
  }

  /** Does not wait for timers: something is new, or the network is back. */
  hurry() {
    if (this.upToDate) return;
    this.#open();
    this.#polling.hurry();
  }

  async #open() {
    clearTimeout(this.#reopening);
    if (this.isCut || this.#socket || this.#opening) return;
    this.#opening = true;
    try {
      this.#meet(await this.#bridge.connect());
    } catch (error) {
      this.problem = error.message;
      this.#reopen();
    }
    this.#opening = false;
  }

  #meet(descriptor) {
    if (this.isCut) return;
    if (descriptor.mode !== "realtime") {
      this.#polling.start();
      return;
    }
    this.#socket = new Socket(descriptor, {
      frame: (frame) => this.#frames[frame.type]?.(frame),
      ended: (code) => this.#lose(code),
    });
    this.#renewing = setTimeout(() => this.#renew(), descriptor.expires * 1000 * RENEW_AT);
  }

  #frames = {
    welcome: () => this.#subscribe(),
    subscribed: (frame) => this.#subscribed(frame),
    event: (frame) => this.#stream.take([frame]),
    heartbeat: ({ offsets }) => this.#stream.reached(offsets[this.#stream.channel] ?? 0),
    reset: () => this.#stream.reset().catch(() => this.#polling.start()),
    status: ({ log, backend }) => this.#judge(log === "ok" && backend === "ok"),
    refused: ({ message }) => this.#complain(message),
    error: ({ message }) => this.#complain(message),
  };

  #subscribe() {
    const { channel, position } = this.#stream;
    if (!position || !this.#socket?.welcomed || this.#subscribing) return;
    this.#subscribing = true;
    this.#socket.send({ type: "subscribe", channel, position });
  }

  #subscribed({ events, more }) {
    this.#subscribing = false;
    this.#stream.take(events);
    if (more) this.#subscribe();
    else this.#become(true);
  }

  #become(live) {
    if (live === this.live) return;
    this.live = live;
    this.changedAt = performance.now();
    if (live) {
      this.problem = null;
      // What was appended while one way gave place to the other is asked for once more.
      if (this.#polling.running) this.#polling.hurry();
    }
    this.#onchange();
  }

  #lose(code) {
    if (this.live && performance.now() - this.changedAt > STEADY) this.#failures = 0;
    this.#socket = null;
    this.#subscribing = false;
    this.#healthy = true;
    clearTimeout(this.#renewing);
    this.#become(false);
    this.#polling.start(Math.random() * 1000);
    if (!FINAL.has(code)) this.#reopen(DRAINED(code) ? Math.random() * 5000 : undefined);
  }

  #reopen(after = delay(this.#failures)) {
    this.#failures += 1;
    this.#polling.start();
    this.#reopening = setTimeout(() => this.#open(), after);
  }

  async #renew() {
    const descriptor = await this.#bridge.connect().catch(() => null);
    if (!descriptor) return;
    this.#socket?.send({ type: "token", token: descriptor.token });
    this.#renewing = setTimeout(() => this.#renew(), descriptor.expires * 1000 * RENEW_AT);
  }

  #judge(healthy) {
    this.#healthy = healthy;
    if (!healthy) this.#polling.start();
    this.#onchange();
  }

  #complain(message) {
    this.problem = message;
    this.#onchange();
  }

  async #poll() {
    const { channel } = this.#stream;
    if (!this.#stream.position) await this.#stream.load();
    const answer = await this.#bridge.poll(channel, this.#stream.position);
    if (answer.reset) await this.#stream.reset();
    else this.#stream.take(answer.events);
    this.polledAt = performance.now();
    this.#onchange();
    if (this.upToDate) return null;
    return answer.more ? 0 : answer.next_ms;
  }
}
