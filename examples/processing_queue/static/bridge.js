/** The bridge's routes over HTTP: where to connect, and what came since a position. */

const PATH = new URL("/realtime/connect", location.href);
const TIMEOUT = 8_000;

export class Bridge {
  #client = `c_${crypto.randomUUID().replaceAll("-", "")}`;
  #poll = new URL("poll", PATH);
  #token = null;

  /** Returns the descriptor: the socket's URL, a token, the heartbeat. */
  async connect() {
    const descriptor = await post(PATH, { client: this.#client });
    const { poll, websocket } = descriptor.urls;
    this.#token = descriptor.token;
    this.#poll = new URL(poll, PATH);
    return { ...descriptor, socket: websocketUrl(new URL(websocket, PATH)) };
  }

  /** Returns {events, position, more} or {reset, position}, with `next_ms`. */
  async poll(channel, position) {
    const asked = { positions: { [channel]: position } };
    const answer = await post(this.#poll, asked, this.#token).catch((error) => this.#doubt(error));
    const news = answer.channels[channel];
    if (news.error) throw new Error(news.error.message);
    return { ...news, next_ms: answer.next_ms };
  }

  /** A token that is refused is not sent again: the application's own session says who we are. */
  #doubt(error) {
    if (error.status === 401) this.#token = null;
    throw error;
  }
}

function websocketUrl(url) {
  url.protocol = url.protocol.replace("http", "ws");
  return url;
}

async function post(url, body, token) {
  const headers = { "content-type": "application/json" };
  if (token) headers.authorization = `Bearer ${token}`;
  const signal = AbortSignal.timeout(TIMEOUT);
  const request = { method: "POST", headers, body: JSON.stringify(body), signal };
  const response = await fetch(url, request).catch(() => {
    throw new Error("The server does not answer");
  });
  if (response.ok) return response.json();
  const { error } = await response.json().catch(() => ({}));
  throw Object.assign(new Error(error?.message ?? `The server answers ${response.status}`), {
    status: response.status,
  });
}
