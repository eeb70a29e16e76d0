// Server of socket.io with a room.
import { createServer } from "node:http";
import { Server } from "socket.io";
import { start } from "./driver.js";

const http = createServer();
const server = new Server(http, { transports: ["websocket"], pingInterval: 300000 });
server.on("connection", (socket) => socket.join("bench-0"));
http.listen({ port: 0, host: "127.0.0.1", backlog: 4096 }, () =>
  start(http.address().port, (channel, text) => server.to(channel).emit("bench.step", text)),
);
