/** Switch that closes this page's WebSockets, like a fault in the network. */

const sockets = new Set();
let cut = false;

/** WebSocket of the page that the switch can close; during a cut, a new one closes at once. */
window.WebSocket = class extends WebSocket {
  constructor(...address) {
    super(...address);
    sockets.add(this);
    this.addEventListener("close", () => sockets.delete(this));
    if (cut) this.close();
  }
};

export function isCut() {
  return cut;
}

export function cutSockets() {
  cut = true;
  for (const socket of sockets) socket.close();
}

export function allowSockets() {
  cut = false;
}
