"""Backends on a local Ably, and a client of theirs."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

from ably import AblyRealtime
from hypothesis import strategies as st

from realtime_bridge import Event, Position
from realtime_bridge.backend.hosted import AuthorizationRequest
from realtime_bridge.testing.providers import LocalAbly
from realtime_bridge_backends.ably import AblyBackend
from realtime_bridge_backends.ably.batches import EncodedEvent

EPOCH = "k3v9q2wz"


def create_backend(ably: LocalAbly, **changes: Any) -> AblyBackend:
    options: dict[str, Any] = {
        "key": ably.key,
        "endpoint": "127.0.0.1",
        "port": ably.port,
        "tls": False,
        "prefix": "app",
    }
    return AblyBackend(**options | changes)


class Listener:
    """Client of the provider, with the rights that our endpoint granted."""

    def __init__(self, client: AblyRealtime) -> None:
        self.client = client
        self.messages: asyncio.Queue[Any] = asyncio.Queue()

    async def subscribe(self, channel: str) -> None:
        await self.client.channels.get(f"app:{channel}").subscribe(self.messages.put_nowait)

    async def event(self) -> dict[str, Any]:
        """Return our frame in the provider's next message."""
        async with asyncio.timeout(10):
            message = await self.messages.get()
        assert message.name == "realtime"
        assert len(message.data.encode()) + len(message.name) <= 65_536
        frame: dict[str, Any] = json.loads(message.data)
        return frame


def auth_request(
    user: str = "42", *, allowed: Callable[[str], bool] = lambda _: True
) -> AuthorizationRequest:
    async def allow(channel: str) -> bool:
        return allowed(channel)

    return AuthorizationRequest(user=user, client="c_1", seconds=600, allow=allow)


def positioned_event(data: Any, offset: int = 1, channel: str = "job.7") -> Event:
    event = Event(channel=channel, event="job.step", data=data, id=f"{channel}-{offset}")
    return event.with_position(Position(EPOCH, offset, event.id), 1_763_836_800_123)


events = st.lists(
    st.builds(
        EncodedEvent,
        channel=st.sampled_from(["a", "b", "c"]),
        id=st.uuids().map(str),
        frame=st.integers(1, 65_528).map(bytes),
    ),
    max_size=60,
)
