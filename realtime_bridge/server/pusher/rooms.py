"""Presence channels of Pusher's clients: the members, and who of the clients shows them."""

import asyncio
import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from realtime_bridge.backend.log import Log
from realtime_bridge.errors import RealtimeError
from realtime_bridge.model.channel import presence_channel
from realtime_bridge.model.event import Event
from realtime_bridge.model.page import Page
from realtime_bridge.model.position import Position
from realtime_bridge.model.reset import Reset
from realtime_bridge.protocol.presence.member_list import (
    MemberList,
    PresenceChange,
    PresentMember,
)
from realtime_bridge.protocol.pusher.members import describe_members, encode_change
from realtime_bridge.protocol.pusher.names import decode_name
from realtime_bridge.protocol.session.subscription import ChannelSubscription
from realtime_bridge.server.fanout.subscriber import Subscriber
from realtime_bridge.server.presence import read_members
from realtime_bridge.server.services import ConnectionServices
from realtime_bridge.server.timer_wheel import Slot

_logger = logging.getLogger("realtime_bridge.server")


class RoomClient(Protocol):
    """Connection that shows the members of a presence channel."""

    def send_change(self, frame: bytes) -> None:
        """Write the frame of a user who joined or left."""


class MemberEvent(bytes):
    """Event of a presence channel, which no client of Pusher's protocol gets as it is."""

    event: Event


class PresenceRoom(Subscriber):
    """Members of one presence channel, from the log that all servers share.

    Args:
        name: Pusher's name of the channel.
        log: the log that keeps the members.
        services: the parts of the server.

    """

    def __init__(self, name: str, log: Log, services: ConnectionServices) -> None:
        self.channel: str = presence_channel(decode_name(name))
        """Name of the channel that has the members."""
        self.slot: Slot | None = None
        self.clients: dict[RoomClient, PresentMember | None] = {}
        """Clients with their users; None before a client was sent the members."""
        self._name = name
        self._log = log
        self._services = services
        self._members = MemberList()
        self._subscription = ChannelSubscription(self.channel)
        self._top: Position | None = None
        """Position of the loaded members; None while they are missing."""
        self._early: list[Event] = []
        """Events that arrived while the members were read."""
        self._is_stale = False
        self._load()

    async def wait_loaded(self) -> None:
        """Wait until the members were read from the log.

        Raises:
            Exception: an unexpected one, with which the reading ended.

        """
        await asyncio.shield(self._loading)

    def show(self, client: RoomClient, member: PresentMember) -> Mapping[str, Any]:
        """Return the members for a client, which is sent the changes from now on."""
        self.clients[client] = member
        return describe_members(self._members, member)

    def close(self) -> None:
        """End the room."""
        self._loading.cancel()
        self._services.timers.cancel(self)
        self._services.hub.unsubscribe(self, self.channel)

    @staticmethod
    def encode(event: Event) -> bytes:
        """Return the event itself, for all rooms."""
        message = MemberEvent()
        message.event = event
        return message

    def deliver(self, subscription: ChannelSubscription, messages: Sequence[bytes]) -> bool:
        """Fold the next events."""
        del subscription
        for message in messages:
            assert isinstance(message, MemberEvent)
            if self._top is None:
                self._early.append(message.event)
            else:
                self._handle(message.event, self._top)
        return True

    def subscribed(self, subscription: ChannelSubscription, page: Page, *, recovered: bool) -> None:
        """Do nothing: the members are read afterwards."""
        del page, recovered
        subscription.opening = subscription.behind = False

    def reset(self, channel: str, reset: Reset) -> None:
        """Read the members again: events are missing."""
        del channel, reset
        self._is_stale = True
        if self._top is not None:
            self._load()

    def wake(self) -> None:
        """Send the departures that are due."""
        self._send(self._members.tick(_now()))

    def _load(self) -> None:
        self._top = None
        tasks = self._services.tasks
        assert tasks
        self._loading = tasks.spawn("members of a presence channel", self._load_until_current())

    async def _load_until_current(self) -> None:
        services = self._services
        while self._top is None:
            self._is_stale = False
            self._early.clear()
            try:
                if self._subscription.opening:
                    await services.hub.subscribe(self, self._subscription, None)
                page = await read_members(self._log, self.channel)
            except RealtimeError as error:
                services.status.outage.failed(error, channel=self.channel)
                await asyncio.sleep(services.timing.restart)
                continue
            if not self._is_stale:
                self._begin(page)

    def _begin(self, page: Page) -> None:
        self._top = page.top
        self._send(self._members.load(page.events, _now()))
        for event in self._early:
            self._handle(event, page.top)
        self._early.clear()

    def _handle(self, event: Event, top: Position) -> None:
        position = event.position
        assert position
        if position.epoch != top.epoch or position.offset > top.offset:
            self._send(self._members.handle(event, _now()))

    def _send(self, changes: Iterable[PresenceChange]) -> None:
        for change in changes:
            frame = encode_change(self._name, change)
            for client, member in list(self.clients.items()):
                # Its own user is in the members that it was sent, until it leaves.
                if member and member.user != change.member.user:
                    client.send_change(frame)
        due = self._members.next_change / 1_000
        self._services.timers.wake_at(due, self)


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
        room.clients[client] = None
        return room

    def leave(self, name: str, client: RoomClient) -> PresentMember | None:
        """End a client's part in a room, and return the member that it was."""
        room = self._rooms.get(name)
        if room is None:
            return None
        member = room.clients.pop(client, None)
        if not room.clients:
            del self._rooms[name]
            room.close()
        return member

    async def read(self, name: str) -> MemberList:
        """Return the members of a channel on all servers.

        Raises:
            PublishError: the log cannot be read.

        """
        members = MemberList()
        page = await read_members(self._log, presence_channel(decode_name(name)))
        members.load(page.events, _now())
        return members


def _now() -> int:
    # Rounded up: a wake-up comes at its moment or later, and must find the departure due.
    return int(time.monotonic() * 1_000) + 1
