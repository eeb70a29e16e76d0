"""Connection of one client of Pusher's protocol: performs the commands of its session."""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Iterable, Sequence
from functools import lru_cache

import orjson

from realtime_bridge.errors import InvalidEventError, RealtimeError
from realtime_bridge.model.event import Event
from realtime_bridge.model.page import Page
from realtime_bridge.model.position import Position
from realtime_bridge.model.reset import Reset
from realtime_bridge.protocol.pusher.codes import PusherCode
from realtime_bridge.protocol.pusher.events import create_event, encode_event, encode_frame
from realtime_bridge.protocol.pusher.names import decode_name, encode_name, is_cache
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
from realtime_bridge.server.pusher.door import PusherServices

_logger = logging.getLogger("realtime_bridge.server")

_REVOKED = "access was revoked"
_UNAUTHORIZED, _FORBIDDEN = 401, 403


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
        "_channels", "_client_events", "_door", "_holders", "_principal", "_published", "_session",
        "address", "origin",
    )  # fmt: skip

    def __init__(self, services: PusherServices) -> None:
        super().__init__(services)
        self.address: str | None = None
        """Address that counts the socket, until the client proves more."""
        self.origin: str = ""
        """Address of the client, whatever it proves."""
        self._door = door = services.door
        self._principal: Principal | None = None
        self._channels: dict[str, ChannelSubscription] = {}
        self._holders: dict[str, Principal] = {}
        """Principal of each subscription, which knows the revocations before it."""
        self._client_events: deque[Event] | None = None
        self._published = 0
        self._session = PusherSession(
            door.app,
            decode_name,
            door.create_socket_id(),
            door.limits,
            door.timing,
            now=time.monotonic(),
        )

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
        self._release_address()
        if self._principal:
            services.registry.release_slot(self._principal.user)
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
        if self._closing:
            return False
        if not self.has_room:
            self._services.statistics.slow_clients += 1
            self._perform(self._session.reject(PusherCode.OVER_CAPACITY, "The client is too slow"))
            return False
        del subscription
        own = self._session.socket_id
        self.send(*(one for one in messages if getattr(one, "source", None) != own))
        return True

    def subscribed(self, subscription: ChannelSubscription, page: Page, *, recovered: bool) -> None:
        """Confirm a subscription; one to a cache channel gets the latest event."""
        del recovered
        if page.more:
            return  # more events followed than a page holds: `_subscribe` begins again
        subscription.opening = subscription.behind = False
        name = encode_name(subscription.channel)
        self._perform(self._session.accept_subscription(name, {}))
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

    def revoke(self, user: str | None, channel: str | None) -> None:
        """Close the connection of a signed-in user, or end one subscription."""
        principal = self._principal
        if user is not None and (principal is None or principal.user != user):
            return
        if channel is None:
            if principal and not self._services.access.revocations.allow(principal):
                self._perform(self._session.reject(PusherCode.UNAUTHORIZED, _REVOKED))
            return
        name = encode_name(channel)
        holder = self._holders.get(name)
        # The log repeats earlier revocations: later sign-ins and subscriptions stay.
        if holder and not self._services.access.revocations.allow(holder, channel):
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
                self._start(command.name)
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

    def _start(self, name: str) -> None:
        services, channel = self._services, decode_name(name)
        if self._principal and not services.access.revocations.allow(self._principal, channel):
            self._deny(name, "AuthError", _REVOKED, _UNAUTHORIZED)
            return
        subscription = self._channels.get(name)
        if subscription:
            if not subscription.opening:
                self._perform(self._session.accept_subscription(name, {}))
            return
        if name.startswith("private-"):
            self._release_address()  # the application signed this subscription
        latest = services.access.revocations.latest
        self._holders[name] = self._principal or _anonymous(latest)
        subscription = self._channels[name] = ChannelSubscription(channel)
        self._door.count_subscription(name, 1)
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
        if name.startswith("private-"):
            return
        budget, timing = self._services.budget, self._services.timing
        payer = self._principal.user if self._principal else f"address {self.origin}"
        while not budget.spend(payer, 1, time.monotonic()):  # noqa: ASYNC110 -- time refills it
            await asyncio.sleep(timing.restart)

    def _leave(self, name: str) -> None:
        subscription = self._channels.pop(name, None)
        if subscription is None:
            return
        del self._holders[name]
        if subscription.task:
            subscription.task.cancel()
            subscription.task = None
        self._door.count_subscription(name, -1)
        self._services.hub.unsubscribe(self, subscription.channel)

    def _release_address(self) -> None:
        if self.address is not None:
            self._door.release_anonymous(self.address)
            self.address = None

    def _sign_in(self, command: SignIn) -> None:
        registry = self._services.registry
        if self._principal is None:
            if not registry.acquire_slot(command.user):
                too_many = "Too many connections of this user"
                self._perform(self._session.reject(PusherCode.OVER_QUOTA, too_many))
                return
            latest = self._services.access.revocations.latest
            self._principal = Principal(user=command.user, known_revocation=latest)
            self._release_address()
        self._perform(self._session.accept_user(command.user, command.user_data))

    def _publish(self, command: Publish) -> None:
        text = command.data.decode()
        if text.startswith('"'):
            text = orjson.loads(command.data)
        if len(text.encode()) > self._door.call_limits.data_bytes:
            self._reject_event(f"The data is over {self._door.call_limits.data_bytes} bytes")
            return
        self._published += 1
        socket_id = self._session.socket_id
        try:
            number = f"{socket_id}-{self._published}"
            event = create_event(command.name, command.event, text, id=number, source=socket_id)
        except InvalidEventError as error:
            self._reject_event(str(error))
            return
        if self._client_events is None:
            self._client_events = deque()
            assert self._services.tasks
            self._services.tasks.spawn("client events", self._publish_all(self._client_events))
        elif len(self._client_events) >= self._door.limits.client_events_per_second:
            self._reject_event("Earlier events wait for the log: send the event again")
            return
        self._client_events.append(event)

    async def _publish_all(self, events: deque[Event]) -> None:
        """Publish one event after another, so that their order stays."""
        while events:
            try:
                await self._door.publish([events.popleft()])
            except RealtimeError as error:
                self._services.status.outage.failed(error, work="client events")
                self._reject_event("The log does not answer: send the event again")
        self._client_events = None

    def _reject_event(self, message: str) -> None:
        self._perform(self._session.reject_client_event(message))


@lru_cache(maxsize=16)
def _anonymous(latest: float) -> Principal:
    """Return the principal of subscriptions without a user; all of one moment share it."""
    return Principal(user="anonymous client of Pusher's protocol", known_revocation=latest)


def _before_last(top: Position) -> Position | None:
    """Return the position before the latest event, from which a reader gets that event."""
    return Position(top.epoch, top.offset - 1) if top.offset else None
