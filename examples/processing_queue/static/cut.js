/** A switch that cuts this page's WebSockets for real, as something on the way would. */

const sockets = new Set();
let cut = false;

/** Every WebSocket of the page, whoever opens it; while it is cut, none gets through. */
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

export function letSocketsReturn() {
  cut = false;
}
