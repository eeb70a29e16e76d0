"""Faults that leave a connection open, and answers of something other than the bridge."""

from dataclasses import replace
from typing import Any

import orjson
import pytest

from realtime_bridge.server.http.request import Message, Receive, Scope, Send
from realtime_bridge.testing.contracts.samples import numbered
from tests.client.servers import TIMING, Application, Client, Server, answers, serving, token

CHANNEL = "user-ada"
PAGES = 900
"""Events that take several pages of the log."""

STRICT = replace(TIMING, late_after=50, answer_timeout=150)

REFUSAL = orjson.dumps({"error": {"code": "unauthorized", "message": "the session is renewed"}})
FOREIGN = {
    "redirection to a portal": answers(302, b"", location="/portal"),
    "redirection to nowhere": answers(302, b""),
    "html 400": answers(400),
    "html 401": answers(401),
    "html 403": answers(403),
    "html 404": answers(404),
    "html 413": answers(413),
    "html 502": answers(502),
    "html 200": answers(200),
    "nothing": answers(200, b""),
    "invalid json": answers(200, b'{"channels": ', **{"content-type": "application/json"}),
    "gateway's 403": answers(403, b'{"message": "no"}', **{"content-type": "application/json"}),
    "short 401 of the bridge": answers(401, REFUSAL, **{"content-type": "application/json"}),
}


def client(url: str, transport: str = "auto", **options: Any) -> Client:
    return Client(url, [CHANNEL], **{"token": token(), "transport": transport, **options})


async def publish(server: Server, count: int, *, start: int = 1) -> None:
    events = numbered(CHANNEL, count, start=start)
    for begin in range(0, count, 500):
        await server.bridge.publish_many(events[begin : begin + 500])


class LossyServer:
    """WebSockets of a bridge that lose what clients send, after so many subscriptions."""

    def __init__(self, bridge: Application, *, subscriptions: int) -> None:
        self._bridge = bridge
        self._left = subscriptions

    def heal(self) -> None:
        self._left = 10**9

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def receive_some() -> Message:
            while True:
                message = await receive()
                if message["type"] != "websocket.receive" or self._passes(message["text"]):
                    return message

        await self._bridge(scope, receive_some, send)

    def _passes(self, text: str) -> bool:
        if self._left > 0 and orjson.loads(text)["type"] == "subscribe":
            self._left -= 1
            return True
        return self._left > 0 or orjson.loads(text)["type"] == "connect"


@pytest.mark.parametrize("transport", ["auto", "sse", "poll"])
@pytest.mark.parametrize("answer", FOREIGN.values(), ids=FOREIGN.keys())
async def test_answer_of_a_proxy_never_ends_the_client(
    server: Server, transport: str, answer: Application
) -> None:
    url = f"http://127.0.0.1:{server.port}/realtime"
    server.http = answer
    async with client(url, transport, timing=replace(TIMING, denial_patience=10_000)) as listening:
        while sum(server.requests.values()) < 6:
            await server.requested.wait()
            server.requested.clear()
        server.http = server.bridge
        await listening.started()
        server.http = answer
        await publish(server, 1)
        server.http = server.bridge
        assert await listening.steps(1) == [1]


async def test_recovery_that_the_server_never_receives_is_completed_by_polls() -> None:
    async with serving() as server:
        url = f"http://127.0.0.1:{server.port}/realtime"
        async with client(url, "poll") as listening:
            start = await listening.started()
        await publish(server, PAGES)
        server.websockets = lossy = LossyServer(server.bridge, subscriptions=1)
        resumed = Client(url, {CHANNEL: start}, token=token(), timing=STRICT)
        async with resumed as listening:
            assert await listening.steps(PAGES) == [*range(1, PAGES + 1)]
            lossy.heal()
            await listening.live()
            await publish(server, 1, start=PAGES + 1)
            assert await listening.steps(1) == [PAGES + 1]


async def test_socket_whose_pings_get_no_answer_is_replaced(server: Server) -> None:
    url = f"http://127.0.0.1:{server.port}/realtime"
    server.websockets = LossyServer(server.bridge, subscriptions=1)
    quick = replace(STRICT, silence_allowance=-9_900, ping_timeout=10_000)
    async with client(url, timing=quick) as listening:
        await listening.live()
        server.websockets = server.bridge
        await listening.live()
        await publish(server, 1)
        assert await listening.steps(1) == [1]
