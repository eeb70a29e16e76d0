"""Events that one client of Pusher's protocol publishes."""

from collections import deque
from collections.abc import Callable

import orjson

from realtime_bridge.errors import InvalidEventError, RealtimeError
from realtime_bridge.model.event import Event
from realtime_bridge.protocol.pusher.events import create_event
from realtime_bridge.protocol.pusher.session_commands import Publish
from realtime_bridge.server.pusher.door import PusherDoor
from realtime_bridge.server.services import ConnectionServices


class ClientEvents:
    """Client events of one connection, which the log gets one after another.

    Args:
        source: name of the connection, to which its own events are not delivered.
        door: publishes the events.
        services: the parts of the server.
        reject: sends the client the reason for which an event was not published.

    """

    __slots__ = (
        "_count", "_door", "_is_publishing", "_reject", "_services", "_source", "_waiting",
    )  # fmt: skip

    def __init__(
        self,
        source: str,
        door: PusherDoor,
        services: ConnectionServices,
        reject: Callable[[str], None],
    ) -> None:
        self._source = source
        self._door = door
        self._services = services
        self._reject = reject
        self._waiting: deque[Event] = deque()
        self._is_publishing = False
        self._count = 0

    def publish(self, command: Publish) -> None:
        """Publish an event after those before it, or reject it."""
        door, text = self._door, command.data.decode()
        if text.startswith('"'):
            text = orjson.loads(command.data)
        if len(text.encode()) > door.call_limits.data_bytes:
            self._reject(f"The data is over {door.call_limits.data_bytes} bytes")
            return
        if len(self._waiting) >= door.limits.client_events_per_second:
            self._reject("Earlier events wait for the log: send the event again")
            return
        self._count += 1
        number, source = f"{self._source}-{self._count}", self._source
        try:
            event = create_event(command.name, command.event, text, id=number, source=source)
        except InvalidEventError as error:
            self._reject(str(error))
            return
        self._waiting.append(event)
        if not self._is_publishing:
            self._is_publishing = True
            assert self._services.tasks
            self._services.tasks.spawn("client events", self._publish_all())

    async def _publish_all(self) -> None:
        """Publish one event after another, so that their order stays."""
        try:
            while self._waiting:
                await self._publish_one(self._waiting.popleft())
        finally:
            self._is_publishing = False

    async def _publish_one(self, event: Event) -> None:
        try:
            await self._door.publish([event])
        except RealtimeError as error:
            self._services.status.outage.failed(error, work="client events")
            self._reject("The log does not answer: send the event again")
