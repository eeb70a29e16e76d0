"""Presence channels of Pusher's clients: the members, and the clients that show them."""

import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Protocol

from realtime_bridge.backend.log import Log
from realtime_bridge.model.channel import presence_channel
from realtime_bridge.model.event import Event
from realtime_bridge.protocol.presence.member_list import (
    MemberList,
    PresenceChange,
    PresentMember,
)
from realtime_bridge.protocol.pusher.members import describe_members, encode_change
from realtime_bridge.protocol.pusher.names import decode_name
from realtime_bridge.server.services import ConnectionServices
from realtime_bridge.server.state_follower import StateFollower, read_latest
from realtime_bridge.server.timer_wheel import Slot


class RoomClient(Protocol):
    """Connection that shows the members of a presence channel."""

    def send_change(self, frame: bytes) -> None:
        """Write the frame of a user who joined or left."""


class PresenceRoom(StateFollower):
    """Members of one presence channel, from the log that all servers share.

    Args:
        name: Pusher's name of the channel.
        log: the log that keeps the members.
        services: the parts of the server.

    """

    def __init__(self, name: str, log: Log, services: ConnectionServices) -> None:
        super().__init__(presence_channel(decode_name(name)), log, services)
        self.slot: Slot | None = None
        self.clients: dict[RoomClient, PresentMember | None] = {}
        """Clients with their users; None before a client was sent the members."""
        self._name = name
        self._members = MemberList()

    @property
    def users(self) -> Collection[str]:
        """The ids of the members."""
        return self._members.by_user

    def show(self, client: RoomClient, member: PresentMember) -> Mapping[str, Any]:
        """Return the members for a client, which is sent the changes from now on."""
        self.clients[client] = member
        return describe_members(self._members, member)

    def close(self) -> None:
        """End the room."""
        self._services.timers.cancel(self)
        super().close()

    def load(self, events: Sequence[Event]) -> None:
        """Begin with the members of the log."""
        self._send(self._members.load(events, now_ms()))

    def handle(self, event: Event) -> None:
        """Fold an announcement of a server."""
        self._send(self._members.handle(event, now_ms()))

    def wake(self) -> None:
        """Send the departures that are due."""
        self._send(self._members.tick(now_ms()))

    def _send(self, changes: Iterable[PresenceChange]) -> None:
        for change in changes:
            frame = encode_change(self._name, change)
            for client, member in list(self.clients.items()):
                # Its own user is in the members that it was sent, until it leaves.
                if member and member.user != change.member.user:
                    client.send_change(frame)
        self._services.timers.wake_at(self._members.next_change / 1_000, self)


class PresenceRooms:
    """Presence channels that Pusher's clients of this server subscribe to.

    Args:
        log: the log that keeps the members.
        services: the parts of the server.

    """

    def __init__(self, log: Log, services: ConnectionServices) -> None:
        self._log = log
        self._services = services
        self._rooms: dict[str, PresenceRoom] = {}

    def join(self, name: str, client: RoomClient) -> PresenceRoom:
        """Return the room of a channel, which stays open until the client leaves."""
        room = self._rooms.get(name)
        if room is None:
            room = self._rooms[name] = PresenceRoom(name, self._log, self._services)
        room.clients.setdefault(client, None)
        return room

    def leave(self, name: str, client: RoomClient) -> None:
        """End a client's part in a room."""
        room = self._rooms.get(name)
        if room is None:
            return
        room.clients.pop(client, None)
        if not room.clients:
            del self._rooms[name]
            room.close()

    async def read(self, name: str) -> MemberList:
        """Return the members of a channel on all servers.

        Raises:
            PublishError: the log cannot be read.

        """
        members = MemberList()
        page = await read_latest(self._log, presence_channel(decode_name(name)))
        members.load(page.events, now_ms())
        return members


def now_ms() -> int:
    """Return the moment of the monotonic clock, in milliseconds.

    It is rounded up: a wake-up comes at its moment or later, and must find the departure due.
    """
    return int(time.monotonic() * 1_000) + 1
