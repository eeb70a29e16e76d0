"""Connection of one client of Pusher's protocol: performs the commands of its session."""

import asyncio
import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from realtime_bridge.errors import RealtimeError
from realtime_bridge.model.channel import presence_channel
from realtime_bridge.model.ephemeral_event import EphemeralEvent
from realtime_bridge.model.event import Event
from realtime_bridge.model.page import Page
from realtime_bridge.model.position import Position
from realtime_bridge.model.reset import Reset
from realtime_bridge.protocol.presence.member_list import PresentMember
from realtime_bridge.protocol.pusher.codes import PusherCode
from realtime_bridge.protocol.pusher.events import encode_client_event, encode_event, encode_frame
from realtime_bridge.protocol.pusher.members import read_member
from realtime_bridge.protocol.pusher.names import MEMBERS, decode_name, encode_name, is_cache
from realtime_bridge.protocol.pusher.session import PusherSession, encode_denial
from realtime_bridge.protocol.pusher.session_commands import (
    Command,
    Deny,
    Publish,
    SignIn,
    Subscribe,
    Unsubscribe,
)
from realtime_bridge.protocol.session.session_commands import Close, Send
from realtime_bridge.protocol.session.subscription import ChannelSubscription
from realtime_bridge.server.auth.principal import Principal
from realtime_bridge.server.connections.base import ServerConnection
from realtime_bridge.server.pusher.client_events import ClientEvents
from realtime_bridge.server.pusher.door import PusherServices
from realtime_bridge.server.pusher.seat import Seat

_logger = logging.getLogger("realtime_bridge.server")

_REVOKED = "access was revoked"
_TOO_MANY = "Too many connections of this user"
_TOO_MANY_SIGNED = "Too many connections of this address without a user: sign in"
_NO_PRESENCE = "Presence needs a log that keeps keys with owners: set REALTIME_LOG to another one"
_UNAUTHORIZED, _FORBIDDEN, _NOT_SERVED = 401, 403, 501

SIGNED = ("private-", MEMBERS)
"""Starts of the names of channels that the application signs."""


class EventMessage(bytes):
    """Encoded event, with the socket that does not get it."""

    source: str | None


class PusherConnection(ServerConnection):
    """Open connection of a client of Pusher's protocol. Its subclass writes the messages.

    Args:
        services: the parts of the server.

    """

    transport = "pusher"

    __slots__ = (
        "_channels", "_client_events", "_counts", "_door", "_holders", "_known_revocation",
        "_members", "_principal", "_rooms", "_session", "_source", "seat",
    )  # fmt: skip

    def __init__(self, services: PusherServices) -> None:
        super().__init__(services)
        self._door = door = services.door
        self.seat: Seat = Seat(door, services.registry)
        """Place of the connection in the counts of addresses and users."""
        self._rooms, self._counts = services.rooms, services.counts
        self._principal: Principal | None = None
        # A signature names the socket and no time: it may be from before any later revocation.
        self._known_revocation = services.access.revocations.latest
        self._members: dict[str, PresentMember] | None = None
        """User of each presence channel; most connections have none."""
        self._channels: dict[str, ChannelSubscription] = {}
        self._holders: dict[str, Principal] = {}
        """Principal of each subscription, which knows the revocations before it."""
        self._source: str | None = None
        self._client_events: ClientEvents | None = None
        """None for most connections, whose clients publish nothing."""
        self._session = PusherSession(
            door.app,
            decode_name,
            door.create_socket_id(),
            door.limits,
            door.timing,
            now=time.monotonic(),
        )

    @property
    def socket_id(self) -> str:
        """Id of the connection, which Pusher's clients and libraries know."""
        return self._session.socket_id

    @property
    def source(self) -> str:
        """Name of the connection as the source of events; other clients may get it."""
        if self._source is None:
            self._source = self._door.app.name_source(self.socket_id)
        return self._source

    @staticmethod
    def encode(event: Event) -> bytes:
        """Return the frame of an event for all clients of this protocol."""
        message = EventMessage(encode_event(event))
        message.source = event.source
        return message

    @property
    def subscriptions(self) -> Iterable[ChannelSubscription]:
        """The subscriptions that were requested and not denied."""
        return self._channels.values()

    def open(self) -> None:
        """Begin to serve the client."""
        self._services.registry.add(self)
        self._perform(self._session.open())
        self._schedule()

    def depart(self) -> None:
        """Remove the connection from all parts of the server."""
        services = self._services
        services.registry.discard(self)
        services.timers.cancel(self)
        for name in list(self._channels):
            self._leave(name)
        self.seat.release()
        self._principal = None

    def receive(self, message: str | bytes) -> None:
        """Handle a message of the client."""
        self._perform(self._session.receive(message, time.monotonic()))

    def receive_frame(self) -> None:
        """Count a control frame or a fragment, which is no message."""
        self._perform(self._session.receive_frame(time.monotonic()))

    def reject_oversized(self) -> None:
        """Close the connection after a message over the limit."""
        self._perform(self._session.reject_oversized())

    def mark_progress(self) -> None:
        """Do nothing: a slow client is closed at once."""

    def deliver(self, subscription: ChannelSubscription, messages: Sequence[bytes]) -> bool:
        """Write the events that other sockets caused, unless the client is too slow."""
        del subscription
        if not self._takes_more():
            return False
        own = self.source
        self.send(*(one for one in messages if getattr(one, "source", None) != own))
        return True

    def receive_ephemeral(self, event: EphemeralEvent) -> None:
        """Write the event of another client, unless this client is too slow."""
        if event.source != self.source and self._takes_more():
            self.send(encode_client_event(event))

    def send_change(self, frame: bytes) -> None:
        """Write that a user joined or left a presence channel, unless the client is too slow."""
        if self._takes_more():
            self.send(frame)

    def _takes_more(self) -> bool:
        if self._closing:
            return False
        if not self.has_room:
            self._services.statistics.slow_clients += 1
            self._perform(self._session.reject(PusherCode.OVER_CAPACITY, "The client is too slow"))
            return False
        return True

    def subscribed(self, subscription: ChannelSubscription, page: Page, *, recovered: bool) -> None:
        """Confirm a subscription; one to a cache channel gets the latest event."""
        del recovered
        if page.more:
            return  # more events followed than a page holds: `_subscribe` begins again
        subscription.opening = subscription.behind = False
        name = encode_name(subscription.channel)
        self._accept(name)
        if is_cache(name) and page.events:
            self.send(self.encode(page.events[-1]))
        elif is_cache(name):
            self.send(encode_frame("pusher:cache_miss", channel=name))

    def reset(self, channel: str, reset: Reset) -> None:
        """Count missing events: this protocol has no word for them."""
        del reset
        subscription = self._channels.get(encode_name(channel))
        if subscription and not subscription.opening:
            self._services.statistics.pusher_gaps += 1

    def notify(self, message: bytes) -> None:
        """Do nothing: the message is one of our own protocol."""

    def close(self, code: int, reason: str) -> None:
        """Close the connection, so that the client connects to another server."""
        del code
        self._perform(self._session.close(PusherCode.RECONNECT, reason))

    def close_by_transport(self, code: int, reason: str) -> None:
        """Close with a code of RFC 6455."""
        self._perform(self._session.close(code, reason))

    def revoke(self, user: str | None, channel: str | None) -> None:
        """Close the connection of a signed-in user, or end one subscription."""
        revocations, principal = self._services.access.revocations, self._principal
        # The log repeats earlier revocations: later sign-ins and subscriptions stay.
        if channel is None and principal and user in (None, principal.user):
            if not revocations.allow(principal):
                self._perform(self._session.reject(PusherCode.UNAUTHORIZED, _REVOKED))
            return
        names = list(self._holders) if channel is None else [encode_name(channel)]
        for name in names:
            holder = self._holders.get(name)
            if holder is None or user not in (None, holder.user):
                continue
            if not revocations.allow(holder, channel):
                self._deny(name, "AuthError", _REVOKED, _FORBIDDEN)

    def hasten_heartbeat(self, within: float) -> None:
        """Do nothing: this protocol has no heartbeats with a status."""

    def wake(self) -> None:
        """Do the session's work that is due."""
        self._perform(self._session.tick(time.monotonic()))
        self._schedule()

    def _schedule(self) -> None:
        self._services.timers.wake_at(self._session.next_wakeup, self)

    def _perform(self, commands: Iterable[Command]) -> None:
        for command in commands:
            if isinstance(command, Send):
                self.send(command.message)
            elif isinstance(command, Close):
                self._finish(command)
            elif isinstance(command, Subscribe):
                self._start(command)
            elif isinstance(command, Unsubscribe):
                self._leave(command.name)
            elif isinstance(command, Deny):
                self._leave(command.name)
                self.send(encode_denial(command))
                self._services.statistics.refuse("pusher_denied", command.message)
            elif isinstance(command, SignIn):
                self._sign_in(command)
            else:
                self._publish(command)

    def _deny(self, name: str, kind: str, message: str, status: int) -> None:
        self._perform(self._session.deny(name, kind, message, status, time.monotonic()))

    def _accept(self, name: str) -> None:
        data: Mapping[str, Any] = {}
        if member := (self._members or {}).get(name):
            room = self._rooms.join(name, self)
            self._services.presence.add(room.channel, member, self)
            data = room.show(self, member)
        self._perform(self._session.accept_subscription(name, data))

    def _start(self, command: Subscribe) -> None:
        services, name = self._services, command.name
        channel = decode_name(name)
        if self._principal and not services.access.revocations.allow(self._principal, channel):
            self._deny(name, "AuthError", _REVOKED, _UNAUTHORIZED)
            return
        subscription = self._channels.get(name)
        if subscription:
            if not subscription.opening:
                self._accept(name)
            return
        latest = services.access.revocations.latest
        holder = self._principal or _anonymous(latest)
        if command.member is not None:
            if not (member := self._admit(name, command.member)):
                return
            holder = self._signed_principal(member.user)
        if name.startswith(SIGNED) and not self.seat.take_signed():
            self._deny(name, "LimitReached", _TOO_MANY_SIGNED, PusherCode.OVER_QUOTA)
            return
        self._holders[name] = holder
        subscription = self._channels[name] = ChannelSubscription(channel)
        self._counts.change(name, 1)
        assert services.tasks
        work = self._subscribe(name, subscription)
        subscription.task = services.tasks.spawn("subscription", work)

    async def _subscribe(self, name: str, subscription: ChannelSubscription) -> None:
        """Subscribe; while the log does not answer, try again, since the client would not."""
        try:
            await self._subscribe_in_time(name, subscription)
        except Exception:
            _logger.exception("subscription failed: channel=%s", subscription.channel)
            # The client must not wait without end, and not come back at once.
            failed = "The server failed"
            self._perform(self._session.reject(PusherCode.OVER_CAPACITY, failed))
        finally:
            if subscription.task is asyncio.current_task():
                subscription.task = None

    async def _subscribe_in_time(self, name: str, subscription: ChannelSubscription) -> None:
        hub, timing = self._services.hub, self._services.timing
        if name in (self._members or {}):
            await self._rooms.join(name, self).wait_loaded()
        while subscription.opening:
            try:
                await self._wait_for_budget(name)
                fanout = await hub.open(subscription.channel)
                after = _before_last(fanout.position) if is_cache(name) else None
                await hub.subscribe(self, subscription, after)
            except RealtimeError as error:
                self._services.status.outage.failed(error, channel=subscription.channel)
                await asyncio.sleep(timing.restart)

    async def _wait_for_budget(self, name: str) -> None:
        """Wait while a client invents channels too fast; signed channels are not invented."""
        if name.startswith(SIGNED):
            return
        budget, timing = self._services.budget, self._services.timing
        payer = self._principal.user if self._principal else f"address {self.seat.origin}"
        while not budget.spend(payer, 1, time.monotonic()):  # noqa: ASYNC110 -- time refills it
            await asyncio.sleep(timing.restart)

    def _leave(self, name: str) -> None:
        subscription = self._channels.pop(name, None)
        if subscription is None:
            return
        del self._holders[name]
        self._end_presence(name)
        if subscription.task:
            subscription.task.cancel()
            subscription.task = None
        self._counts.change(name, -1)
        self._services.hub.unsubscribe(self, subscription.channel)

    def _admit(self, name: str, fields: Mapping[str, Any]) -> PresentMember | None:
        """Return the user of a presence channel, or deny the subscription."""
        try:
            member = read_member(fields)
        except ValueError as error:
            self._deny(name, "AuthError", str(error), _UNAUTHORIZED)
            return None
        principal = self._signed_principal(member.user)
        if not self._services.access.revocations.allow(principal, decode_name(name)):
            self._deny(name, "AuthError", _REVOKED, _UNAUTHORIZED)
            return None
        if not self._services.presence.is_served:
            self._deny(name, "LimitReached", _NO_PRESENCE, _NOT_SERVED)
            return None
        if self.seat.user is None and not self.seat.take_user(member.user):
            self._deny(name, "LimitReached", _TOO_MANY, PusherCode.OVER_QUOTA)
            return None
        self._members = (self._members or {}) | {name: member}
        return member

    def _end_presence(self, name: str) -> None:
        member = self._members.pop(name, None) if self._members else None
        if member:
            self._rooms.leave(name, self)
            channel = presence_channel(decode_name(name))
            self._services.presence.remove(channel, member.user, self)

    def _sign_in(self, command: SignIn) -> None:
        if self._principal is None:
            principal = self._signed_principal(command.user)
            if not self._services.access.revocations.allow(principal):
                self._perform(self._session.reject(PusherCode.UNAUTHORIZED, _REVOKED))
                return
            if not self.seat.take_user(command.user):
                self._perform(self._session.reject(PusherCode.OVER_QUOTA, _TOO_MANY))
                return
            self._principal = principal
        self._perform(self._session.accept_user(command.user, command.user_data))

    def _signed_principal(self, user: str) -> Principal:
        """Return the principal of a user: the application signed that user for this socket."""
        return Principal(user=user, known_revocation=self._known_revocation)

    def _publish(self, command: Publish) -> None:
        if self._client_events is None:
            self._client_events = ClientEvents(
                self.source, self._door, self._services, self._reject_event
            )
        member = (self._members or {}).get(command.name)
        self._client_events.publish(command, member.user if member else None)

    def _reject_event(self, message: str) -> None:
        self._perform(self._session.reject_client_event(message))


@lru_cache(maxsize=16)
def _anonymous(latest: float) -> Principal:
    """Return the principal of subscriptions without a user; all of one moment share it."""
    return Principal(user="anonymous client of Pusher's protocol", known_revocation=latest)


def _before_last(top: Position) -> Position | None:
    """Return the position before the latest event, from which a reader gets that event."""
    return Position(top.epoch, top.offset - 1) if top.offset else None
