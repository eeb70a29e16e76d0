"""State that all connections of Pusher's protocol share in one run of a server."""

import secrets
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any, Self

from realtime_bridge.backend.feed import EphemeralFeed
from realtime_bridge.backend.log import Log
from realtime_bridge.model.event import Event
from realtime_bridge.protocol.pusher.calls import CallLimits
from realtime_bridge.protocol.pusher.codes import PusherCode
from realtime_bridge.protocol.pusher.session import rejection
from realtime_bridge.protocol.pusher.session_commands import PusherLimits, PusherTiming
from realtime_bridge.protocol.pusher.signatures import PusherApp
from realtime_bridge.protocol.session.session_commands import Close
from realtime_bridge.server.http.request import HTTPError
from realtime_bridge.server.pusher.counts import ChannelCounts
from realtime_bridge.server.pusher.rooms import PresenceRooms
from realtime_bridge.server.services import ConnectionServices
from realtime_bridge.settings import Settings

USERS_PER_ADDRESS = 50
"""Anonymous sockets of one address, in sockets of one user: a proxy or an office has many users."""

SIGNED_USERS_PER_ADDRESS = 500
"""Sockets of one address that the application signed without a user, in sockets of one user."""

ANONYMOUS_SOCKETS = 20_000
"""The most anonymous sockets of one process."""

PublishMany = Callable[[Sequence[Event]], Awaitable[Any]]


class PusherDoor:
    """Pusher app of one run of a server: credentials and limits.

    Args:
        app: the credentials.
        settings: the limits.
        timing: the durations of the connections.
        publish: appends events to the log.
        feed: carries the events of clients; None where the log cannot.

    """

    def __init__(
        self,
        app: PusherApp,
        settings: Settings,
        *,
        timing: PusherTiming,
        publish: PublishMany,
        feed: EphemeralFeed | None,
    ) -> None:
        self.app: PusherApp = app
        self.timing: PusherTiming = timing
        self.publish: PublishMany = publish
        self.feed: EphemeralFeed | None = feed
        self.limits: PusherLimits = PusherLimits(
            frame_bytes=settings.limit_frame_bytes,
            frames_per_second=settings.limit_frames_per_second,
            client_events=settings.pusher_door_client_events,
        )
        self.call_limits: CallLimits = CallLimits(
            data_bytes=min(settings.pusher_door_bytes, settings.limit_event_bytes)
        )
        self._is_enabled = settings.enabled
        self._address_limit = USERS_PER_ADDRESS * settings.limit_connections_per_user
        self._signed_limit = SIGNED_USERS_PER_ADDRESS * settings.limit_connections_per_user
        self._anonymous: Counter[str] = Counter()
        self._signed: Counter[str] = Counter()

    def create_socket_id(self) -> str:
        """Return the id of a new connection, which no other node of the cluster gives too."""
        return f"{secrets.randbelow(10**9)}.{secrets.randbelow(10**9)}"

    def rejection(self, key: str, protocol: str | None) -> Close | None:
        """Return the close of a client that may not connect."""
        close = rejection(self.app, key, protocol)
        if close is None and not self._is_enabled:
            return Close(PusherCode.APP_DISABLED, "The app is disabled")
        return close

    def acquire_anonymous(self, address: str) -> None:
        """Count one more socket that has proved nothing.

        Raises:
            HTTPError: 429, the address or the process has too many. Below the WebSocket level:
                Pusher's clients wait longer before they try again.

        """
        limit, total = self._address_limit, self._anonymous.total()
        if self._anonymous[address] >= limit or total >= ANONYMOUS_SOCKETS:
            raise HTTPError(
                429,
                "too_many_connections",
                "Too many anonymous sockets: sign in, or subscribe to a private channel first",
                headers={"retry-after": "15"},
            )
        self._anonymous[address] += 1

    def release_anonymous(self, address: str) -> None:
        """Count one socket of an address less."""
        _release(self._anonymous, address)

    def acquire_signed(self, address: str) -> bool:
        """Count one more socket that the application signed without a user, if there is room.

        Anyone who may sign in can have many such sockets signed: the signature of a private channel
        names no user among whose connections they would count.
        """
        if self._signed[address] >= self._signed_limit:
            return False
        self._signed[address] += 1
        return True

    def release_signed(self, address: str) -> None:
        """Count one socket of an address less."""
        _release(self._signed, address)


def _release(counts: Counter[str], address: str) -> None:
    counts[address] -= 1
    if not counts[address]:
        del counts[address]


@dataclass(frozen=True, slots=True, kw_only=True)
class PusherServices(ConnectionServices):
    """Parts of the server that the connections of this protocol share.

    Args:
        door: the state of this protocol.
        rooms: the presence channels of this protocol's clients.
        counts: the number of subscriptions by channel.

    """

    door: PusherDoor
    rooms: PresenceRooms
    counts: ChannelCounts

    @classmethod
    def create(cls, services: ConnectionServices, door: PusherDoor, log: Log) -> Self:
        """Return the parts of all connections, and those of this protocol."""
        parts = {one.name: getattr(services, one.name) for one in fields(ConnectionServices)}
        rooms, counts = PresenceRooms(log, services), ChannelCounts(log, services)
        return cls(**parts, door=door, rooms=rooms, counts=counts)
