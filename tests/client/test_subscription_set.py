"""What both transports share: nothing overtakes, and nothing is lost when one is cut short."""

import asyncio
from typing import Any, cast

import pytest
from websockets.asyncio.client import ClientConnection

from realtime_bridge import Event
from realtime_bridge.client import subscription_set as module
from realtime_bridge.client.subscription_set import SubscriptionSet
from realtime_bridge.client.websocket_transport import WebSocketTransport
from realtime_bridge.model.position import Position

EPOCH = "aaaaaaaa"


def page(first: int, last: int) -> dict[str, Any]:
    """Return an answer of the log: the events from `first` to `last`."""
    events = [
        {"channel": "job.7", "event": "x", "id": f"id-{n}", "epoch": EPOCH, "offset": n, "data": n}
        for n in range(first, last + 1)
    ]
    return {"epoch": EPOCH, "offset": last, "events": events, "more": False}


def taken(stream: SubscriptionSet) -> list[int]:
    items = iter(stream.take, None)
    return [item.data for item in items if isinstance(item, Event)]


@pytest.fixture
def stream(monkeypatch: pytest.MonkeyPatch) -> SubscriptionSet:
    monkeypatch.setattr(module, "WAITING", 2)
    return SubscriptionSet({"job.7": Position(EPOCH, 0)}, "a token")


async def test_what_two_transports_bring_stays_in_order_when_the_handler_is_slow(
    stream: SubscriptionSet,
) -> None:
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(stream.page("job.7", page(1, 5)))
        tasks.create_task(stream.page("job.7", page(4, 9)))
        await stream.arrived()
        await asyncio.sleep(0)
        assert taken(stream) == [*range(1, 10)]


async def test_a_transport_that_is_cut_while_it_waits_for_the_handler_loses_nothing(
    stream: SubscriptionSet,
) -> None:
    bringing = asyncio.create_task(stream.page("job.7", page(1, 5)))
    await stream.arrived()
    bringing.cancel()
    await asyncio.wait({bringing})
    assert stream.positions == {"job.7": Position(EPOCH, 5)}
    assert stream.taken == {"job.7": Position(EPOCH, 0)}
    assert taken(stream) == [1, 2, 3, 4, 5]
    assert stream.taken == {"job.7": Position(EPOCH, 5)}


class Connection:
    def __init__(self) -> None:
        self.sent: list[str] = []

    async def send(self, text: str) -> None:
        self.sent.append(text)


async def test_a_channel_is_not_asked_for_again_while_it_is_being_answered(
    stream: SubscriptionSet,
) -> None:
    """Because the server takes that for a broken client, and closes for good."""
    connection = Connection()
    socket = WebSocketTransport("http://127.0.0.1:8000/realtime/ws", stream, lambda *_, **__: None)
    socket._connection = cast("ClientConnection", connection)
    await socket._subscribe("job.7", None)
    await socket._subscribe("job.7", None)
    assert len(connection.sent) == 1
    await socket._on_subscribed({"channel": "job.7", **page(1, 1)})
    await socket._subscribe("job.7", None)
    assert len(connection.sent) == 2
