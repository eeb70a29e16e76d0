/** One WebSocket, from its opening to its end, which comes once, whatever the network does. */

const PROTOCOL = "realtime.v1";
const WELCOME_WITHIN = 5_000;
const PATIENCE = 5_000;
const PONG_WITHIN = 3_000;

export class Socket {
  #socket;
  #timer;
  #ended;
  #silence;
  welcomed = false;

  /** `frame` gets every frame from `welcome` on; `ended` gets the close code. */
  constructor({ socket, token, heartbeat }, { frame, ended }) {
    const nonce = crypto.randomUUID();
    this.#ended = ended;
    this.#silence = heartbeat * 1000 + PATIENCE;
    this.#socket = new WebSocket(socket, [PROTOCOL]);
    this.#socket.onopen = () => this.send({ type: "connect", token, nonce, version: 1 });
    this.#socket.onmessage = ({ data }) => this.#receive(JSON.parse(data), nonce, frame);
    this.#socket.onclose = ({ code }) => this.end(code);
    this.#wait(WELCOME_WITHIN, () => this.end());
  }

  send(frame) {
    if (this.#socket.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(frame));
  }

  /** Ends at once: a dead network would let a closing handshake wait. */
  end(code = 1006) {
    if (!this.#ended) return;
    const ended = this.#ended;
    this.#ended = null;
    clearTimeout(this.#timer);
    this.#socket.onopen = this.#socket.onmessage = this.#socket.onclose = null;
    this.#socket.close();
    ended(code);
  }

  #receive(received, nonce, frame) {
    this.welcomed ||= received.type === "welcome" && received.nonce === nonce;
    if (!this.welcomed) return;
    this.#wait(this.#silence, () => this.#probe());
    frame(received);
  }

  #probe() {
    this.send({ type: "ping", nonce: "still there?" });
    this.#wait(PONG_WITHIN, () => this.end());
  }

  #wait(milliseconds, then) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(then, milliseconds);
  }
}
