"""WebSocket of a simulated server that speaks ASGI."""

import asyncio
from typing import Any

from realtime_bridge.server.http.request import Message
from realtime_bridge.testing.simulation.http_exchange import Lost
from realtime_bridge.testing.simulation.inbox import Inbox
from realtime_bridge.testing.simulation.sockets import Socket


class ASGISocket(Socket):
    """WebSocket of the portable shell; the pipes carry messages instead of frames."""

    _messages: Inbox[Message]
    _gone: "asyncio.Future[None]"

    def begin(self, path: str) -> None:
        """Call the application."""
        self._messages = Inbox()
        self._messages.put({"type": "websocket.connect"})
        self._gone = self.node.loop.create_future()
        self.node.sockets[self] = None
        scope: dict[str, Any] = {
            "type": "websocket",
            "path": path,
            "query_string": b"",
            "headers": [],
        }
        scope["subprotocols"] = ["realtime.v1"]
        scope["extensions"] = {"websocket.http.response": {}}
        self.node.spawn(self._serve(scope))

    def send_text(self, text: str) -> None:
        """Send a message of the client."""
        self.up.send({"type": "websocket.receive", "text": text}, len(text))

    def on_client_item(self, item: Message | Lost) -> None:
        """Queue a message for the application."""
        if isinstance(item, Lost):
            self.on_server_lost()
        else:
            self._messages.put(item)

    def on_server_item(self, item: Any) -> None:
        """Queue an item for the client."""
        self.inbox.put(item)

    def on_server_lost(self) -> None:
        """Report the disconnect to the application."""
        self.node.sockets.pop(self, None)
        if not self._gone.done():
            self._gone.set_result(None)
            self._messages.put({"type": "websocket.disconnect", "code": 1006})

    def shut_down(self) -> None:
        """Close, because the server stops."""
        self.down.send((1012, ""))
        self.on_server_lost()

    async def _serve(self, scope: dict[str, Any]) -> None:
        try:
            await self.node.bridge(scope, self._messages.get, self._send)
        finally:
            self.node.sockets.pop(self, None)
            self.down.send(Lost())

    async def _send(self, message: Message) -> None:
        if self._gone.done():
            raise OSError("the client has disconnected")
        match message["type"]:
            case "websocket.accept":
                self.down.send(101)
            case "websocket.send":
                self.down.send(message["text"], len(message["text"]))
                while not self.down.has_room and not self._gone.done():
                    await self._room()
            case "websocket.close":
                self.down.send((message["code"], message.get("reason", "")))
            case "websocket.http.response.start":
                self.down.send(message["status"])

    async def _room(self) -> None:
        progress = self.node.loop.create_future()
        self.down.on_progress = lambda: progress.done() or progress.set_result(None)
        await asyncio.wait([progress, self._gone], return_when=asyncio.FIRST_COMPLETED)
