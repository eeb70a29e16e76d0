"""Events that one client of Pusher's protocol publishes."""

from collections import deque
from collections.abc import Callable

import orjson

from realtime_bridge.backend.calls import backend_call
from realtime_bridge.errors import InvalidEventError, RealtimeError
from realtime_bridge.model.ephemeral_event import EphemeralEvent
from realtime_bridge.protocol.pusher.events import create_client_event
from realtime_bridge.protocol.pusher.session_commands import Publish
from realtime_bridge.server.pusher.door import PusherDoor
from realtime_bridge.server.services import ConnectionServices

_NO_FEED = "Client events need a log that carries them: set REALTIME_LOG to another one"


class ClientEvents:
    """Client events of one connection, which the feed gets one after another.

    No log keeps them: the present subscribers of this protocol get them, on all servers.

    Args:
        source: name of the connection, to which its own events are not delivered.
        door: sends the events.
        services: the parts of the server.
        reject: sends the client the reason for which an event was not published.

    """

    __slots__ = ("_door", "_is_sending", "_reject", "_services", "_source", "_waiting")

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
        self._waiting: deque[EphemeralEvent] = deque()
        self._is_sending = False

    def publish(self, command: Publish, user: str | None) -> None:
        """Send an event after those before it, or reject it; `user` is that of the channel."""
        door, text = self._door, command.data.decode()
        if text.startswith('"'):
            text = orjson.loads(command.data)
        if len(text.encode()) > door.call_limits.data_bytes:
            self._reject(f"The data is over {door.call_limits.data_bytes} bytes")
            return
        if len(self._waiting) >= door.limits.client_events_per_second:
            self._reject("Earlier events wait for the log: send the event again")
            return
        try:
            event = create_client_event(
                command.name, command.event, text, source=self._source, user=user
            )
        except InvalidEventError as error:
            self._reject(str(error))
            return
        self._waiting.append(event)
        if not self._is_sending:
            self._is_sending = True
            assert self._services.tasks
            self._services.tasks.spawn("client events", self._send_all())

    async def _send_all(self) -> None:
        """Send one event after another, so that their order stays."""
        try:
            while self._waiting:
                await self._send(self._waiting.popleft())
        finally:
            self._is_sending = False

    async def _send(self, event: EphemeralEvent) -> None:
        feed = self._door.feed
        if feed is None:
            self._reject(_NO_FEED)
            return
        try:
            await backend_call(feed, feed.send_ephemeral, event)
        except RealtimeError as error:
            self._services.status.outage.failed(error, work="client events")
            self._reject("The log does not answer: send the event again")
