// Server of ws: a loop over all clients.
import { WebSocketServer } from "ws";
import { start } from "./driver.js";

const server = new WebSocketServer({ port: 0, host: "127.0.0.1", perMessageDeflate: false, backlog: 4096 });
server.on("listening", () =>
  start(server.address().port, (_channel, text) => {
    for (const socket of server.clients) socket.send(text);
  }),
);
