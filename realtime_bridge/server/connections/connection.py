"""Connection of one client: performs the commands of its session, on any transport."""

import asyncio
import logging
import random
import time
from collections.abc import Iterable, Sequence

from realtime_bridge.errors import RealtimeError
from realtime_bridge.model.channel import PRESENCE
from realtime_bridge.model.page import Page
from realtime_bridge.model.position import Position
from realtime_bridge.model.reset import Reset
from realtime_bridge.model.user import own_channel
from realtime_bridge.protocol.session.session import Session
from realtime_bridge.protocol.session.session_commands import (
    Command,
    Send,
    Subscribe,
    Unsubscribe,
    VerifyToken,
)
from realtime_bridge.protocol.session.subscription import ChannelSubscription
from realtime_bridge.protocol.wire import messages as wire
from realtime_bridge.protocol.wire.client_messages import oversized
from realtime_bridge.protocol.wire.close_codes import CloseCode
from realtime_bridge.server.at_once import run_at_once
from realtime_bridge.server.auth.principal import Principal
from realtime_bridge.server.auth.token_error import TokenError
from realtime_bridge.server.connections.base import ServerConnection
from realtime_bridge.server.http.denial import MALFORMED, TOO_MANY, Denial
from realtime_bridge.server.http.requested_positions import RequestedPositions
from realtime_bridge.server.services import ConnectionServices

_logger = logging.getLogger("realtime_bridge.server")

READS_AT_ONCE = 4
"""The most channels of one connection whose history is read at the same time."""


def own_positions(principal: Principal | None) -> RequestedPositions:
    """Return the subscription that a development server's `?userId=` begins with."""
    channel = own_channel(principal.user) if principal else None
    return RequestedPositions({channel: None} if channel else {}, {})


class Connection(ServerConnection):
    """Open connection of a client of ours. Its subclass writes the messages, and ends it."""

    __slots__ = (
        "_history_reads", "_principal", "_session",
    )  # fmt: skip

    def __init__(self, services: ConnectionServices) -> None:
        super().__init__(services)
        self._session = Session(
            services.limits,
            services.timing.session,
            draw=random.random(),  # noqa: S311 -- it spreads heartbeats
            now=time.monotonic(),
        )
        self._principal: Principal | None = None
        self._history_reads: asyncio.Semaphore | None = None

    @property
    def user(self) -> str | None:
        """The user that the session was accepted for."""
        return self._session.user

    @property
    def subscriptions(self) -> Iterable[ChannelSubscription]:
        """The subscriptions that were requested and not denied."""
        return self._session.subscriptions.values()

    def open(self, principal: Principal | None, requested: RequestedPositions) -> None:
        """Begin to serve the client.

        Args:
            principal: the client's principal, where the upgrade proved it.
            requested: the channels to subscribe to at once, each with a position or a denial.

        """
        services = self._services
        services.registry.add(self)
        if principal:
            self._perform(self._accept(principal, None))
        for channel, position in requested.positions.items():
            self._perform(self._session.subscribe(channel, position))
        for channel, denial in requested.denials.items():
            self._perform(self._session.deny_subscription(channel, denial.code, denial.message))
        services.timers.wake_at(self._session.next_wakeup, self)

    def depart(self) -> None:
        """Remove the connection from all parts of the server."""
        services, principal = self._services, self._principal
        services.registry.discard(self)
        services.timers.cancel(self)
        for subscription in self.subscriptions:
            self._end_subscription(subscription)
        if principal:
            services.registry.release_slot(principal.user)
            self._principal = None

    def receive(self, message: str | bytes) -> None:
        """Handle a message of the client."""
        self._perform(self._session.receive(message, time.monotonic()))

    def receive_frame(self) -> None:
        """Count a control frame or a fragment, which is no message."""
        self._perform(self._session.receive_frame(time.monotonic()))

    def reject_oversized(self) -> None:
        """Close the connection after a message over the limit."""
        limit = self._services.limits.frame_bytes
        self._perform(self._session.reject(CloseCode.PROTOCOL, oversized(limit)))

    def deliver(self, subscription: ChannelSubscription, messages: Sequence[bytes]) -> bool:
        """Write the events, unless the client is too slow."""
        if subscription.behind:
            return False
        if not self.has_room:
            self._services.statistics.slow_clients += 1
            self._perform(self._session.mark_slow(time.monotonic(), unsent=self.unsent_bytes))
            self._schedule()
            return False
        self.send(*messages)
        return True

    def subscribed(self, subscription: ChannelSubscription, page: Page, *, recovered: bool) -> None:
        """Answer a subscription with its history."""
        message = self._session.subscription_ready(subscription, page, recovered=recovered)
        if message:
            self.send(message)

    def reset(self, channel: str, reset: Reset) -> None:
        """Inform the client of missing events."""
        self._session.mark_reset(channel, reset.top.offset)
        self.send(wire.encode_reset(channel, reset))

    def notify(self, message: bytes) -> None:
        """Send a message for all clients."""
        self._perform(self._session.notify(message))

    def close(self, code: int, reason: str) -> None:
        """Close the connection without an error of the client."""
        self._perform(self._session.close(code, reason))

    def close_by_transport(self, code: int, reason: str) -> None:
        """Close with a code of RFC 6455."""
        self.close(code, reason)

    def revoke(self, user: str | None, channel: str | None) -> None:
        """Close the connection, or end one subscription, if it belongs to this user."""
        if self._principal is None or user not in (None, self._principal.user):
            return
        if self._services.access.revocations.allow(self._principal, channel):
            return  # an earlier revocation, which the log has repeated
        if channel is None:
            self._perform(self._session.close(CloseCode.FORBIDDEN, "access was revoked"))
            return
        for name in (channel, PRESENCE + channel):
            if subscription := self._session.subscriptions.get(name):
                self._end_subscription(subscription)
                self._perform(self._session.deny_subscription(name, 403, "access was revoked"))

    def hasten_heartbeat(self, within: float) -> None:
        """Send the next heartbeat within some seconds."""
        self._session.hasten_heartbeat(time.monotonic(), within=within)
        self._schedule()

    def mark_progress(self) -> None:
        """Store that the client has read some bytes."""
        self._session.mark_progress(time.monotonic(), unsent=self.unsent_bytes)

    def wake(self) -> None:
        """Do the session's work that is due."""
        top, unsent = self._services.hub.top, self.unsent_bytes
        self._perform(
            self._session.tick(time.monotonic(), top, unsent=unsent, report=self._report())
        )
        self._schedule()

    def _perform(self, commands: Iterable[Command]) -> None:
        for command in commands:
            if isinstance(command, Send):
                self.send(command.message)
            elif isinstance(command, VerifyToken):
                self._perform(self._verify(command))
                # The token moves the session's next work; no other command does.
                self._services.timers.wake_at(self._session.next_wakeup, self)
            elif isinstance(command, Subscribe):
                self._begin_subscription(command.subscription, command.position)
            elif isinstance(command, Unsubscribe):
                self._end_subscription(command.subscription)
            else:
                self._finish(command)

    def _schedule(self) -> None:
        """Set the timer to the session's next work."""
        self._services.timers.wake_at(self._session.next_wakeup, self)

    def _report(self) -> dict[str, object]:
        """Return the server's status for a welcome or a heartbeat, with the time in Unix ms."""
        # The generation of this moment: clients move when it grows while they are connected.
        status, moment = self._services.status, time.time_ns() // 1_000_000
        return {"generation": status.generation, **status.fields, "time": moment}

    def _verify(self, command: VerifyToken) -> list[Command]:
        try:
            principal = self._services.authenticator.verify(command.token)
        except TokenError as error:
            self._services.statistics.refuse(error.code, str(error))
            return self._session.reject(CloseCode.TOKEN, str(error), reason=error.code)
        return self._accept(principal, command.nonce)

    def _accept(self, principal: Principal, nonce: str | None) -> list[Command]:
        services, before, report = self._services, self._principal, self._report()
        if before is None and not services.registry.acquire_slot(principal.user):
            too_many = "too many connections of this user"
            return self._session.reject(CloseCode.TOO_MANY_CONNECTIONS, too_many)
        if before is None or before.user == principal.user:
            self._principal = principal
        now = time.monotonic()
        return self._session.accept(
            principal.user,
            principal.client or "",
            expires=now + principal.expires - time.time(),
            now=now,
            nonce=nonce,
            report=report,
        )

    def _begin_subscription(
        self, subscription: ChannelSubscription, position: Position | None
    ) -> None:
        """Subscribe now, or in a task where the answer has to wait.

        A task takes a third of the time of a subscription, and its answer a write of its own.
        """
        services, principal, channel = self._services, self._principal, subscription.channel
        if principal is None:
            return  # the session was rejected
        at_once = (
            self._drained is None
            and services.access.allows_at_once(principal, channel)
            and services.hub.answers_at_once(channel, position)
            and services.budget.spend(principal.user, 1, time.monotonic())
        )
        if at_once and run_at_once(self._read_now(subscription, position), default=False):
            return
        assert services.tasks
        self._history_reads = self._history_reads or asyncio.Semaphore(READS_AT_ONCE)
        work = self._subscribe(subscription, position)
        subscription.task = services.tasks.spawn("subscription", work)

    async def _read_now(self, subscription: ChannelSubscription, position: Position | None) -> bool:
        """Subscribe or deny, and return True."""
        try:
            await self._services.hub.subscribe(self, subscription, position)
        except RealtimeError as error:
            self._deny_for_now(subscription.channel, error)
        return True

    async def _subscribe(
        self, subscription: ChannelSubscription, position: Position | None
    ) -> None:
        channel = subscription.channel
        try:
            await self._authorize_and_read(subscription, position)
        except RealtimeError as error:
            self._deny_for_now(channel, error)
        except asyncio.CancelledError:
            if subscription.task is asyncio.current_task():
                # Not this connection ended the task: the client must not wait without end.
                self._deny(channel, 500, "the subscription was interrupted")
            raise
        except Exception:
            _logger.exception("subscription failed: channel=%s", channel)
            self.close(CloseCode.INTERNAL, "the server failed")
        finally:
            if subscription.task is asyncio.current_task():
                subscription.task = None
            # An idle connection keeps no semaphore: 10,000 of them take a megabyte.
            for other in self._session.subscriptions.values():
                if other.task:
                    break
            else:
                self._history_reads = None

    async def _authorize_and_read(
        self, subscription: ChannelSubscription, position: Position | None
    ) -> None:
        channel, hub = subscription.channel, self._services.hub
        assert self._principal
        if denial := await self._decide(self._principal, channel):
            hub.unsubscribe(self, channel)
            self._services.statistics.refuse(denial.word, denial.message)
            self._deny(channel, denial.code, denial.message)
            return
        assert self._history_reads
        # All channels are opened in one call of the log. Few are read at a time, because each page
        # waits in memory until it is written.
        await hub.open(channel)
        async with self._history_reads:
            if self._drained:
                await self.wait_for_room()
            await hub.subscribe(self, subscription, position)
        if channel.startswith(PRESENCE):
            await self._services.presence.enter(self._principal, channel, self)

    def _deny_for_now(self, channel: str, error: RealtimeError) -> None:
        self._services.status.outage.failed(error, channel=channel)
        self._deny(channel, 500, "the log cannot be read now")

    def _deny(self, channel: str, code: int, message: str) -> None:
        assert self._principal
        self._services.presence.leave(self._principal, channel, self)
        self._perform(self._session.deny_subscription(channel, code, message))

    async def _decide(self, principal: Principal, channel: str) -> Denial | None:
        if not self._services.budget.spend(principal.user, 1, time.monotonic()):
            return Denial(TOO_MANY, "too many channels of this user in a short time")
        denial = await self._services.access.decide(principal, channel)
        return denial or self._services.presence.denial(channel, MALFORMED)

    def _end_subscription(self, subscription: ChannelSubscription) -> None:
        if subscription.task:
            subscription.task.cancel()
            subscription.task = None
        self._services.hub.unsubscribe(self, subscription.channel)
        if self._principal:
            self._services.presence.leave(self._principal, subscription.channel, self)
