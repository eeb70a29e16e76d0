"""Polling by position; any server can answer, as no state is kept between requests."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, TypeVar

from realtime_bridge.model.channel import PRESENCE
from realtime_bridge.model.page import Page
from realtime_bridge.model.position import Position
from realtime_bridge.model.reset import Reset
from realtime_bridge.protocol.session.subscription import ChannelSubscription
from realtime_bridge.protocol.wire import messages as wire
from realtime_bridge.server.at_once import run_at_once
from realtime_bridge.server.auth.access import ChannelAccess
from realtime_bridge.server.auth.authenticator import Authenticator
from realtime_bridge.server.auth.channel_budget import ChannelBudget
from realtime_bridge.server.auth.principal import Principal
from realtime_bridge.server.endpoints.log_cache import LogCache
from realtime_bridge.server.endpoints.long_poll import LongPoll
from realtime_bridge.server.fanout.hub import Hub
from realtime_bridge.server.http.denial import UNAVAILABLE, Denial
from realtime_bridge.server.http.request import HTTPError, Request
from realtime_bridge.server.http.requested_positions import Positions, read_positions
from realtime_bridge.server.http.response import Response
from realtime_bridge.server.lifecycle.pipeline import ServerPipeline
from realtime_bridge.server.lifecycle.status import ServerStatus
from realtime_bridge.server.presence import Presence
from realtime_bridge.server.registry import ConnectionRegistry
from realtime_bridge.server.statistics import ServerStatistics
from realtime_bridge.server.timing import ServerTiming

LEAST_CHANNELS = 128
"""Channels that each poll may have: a client that only polls gets no descriptor with the limit."""

CALLS_AT_ONCE = 16
"""The most calls of `call_for_each` at the same time."""

A = TypeVar("A")
R = TypeVar("R")


class Polls:
    """Answers to polls.

    Args:
        authenticator: authenticates the requests.
        access: decides who may subscribe to a channel.
        pipeline: the log.
        hub: ends a long poll when an event arrives.
        registry: the clients of this process, among them the long polls.
        status: the status of the server.
        timing: the durations of the server.
        statistics: counts of this run.
        presence: makes the users of polls present.
        budget: the channels that each user may still request.
        max_channels: the most channels of one poll, if over `LEAST_CHANNELS`.

    """

    def __init__(
        self,
        authenticator: Authenticator,
        access: ChannelAccess,
        pipeline: ServerPipeline,
        hub: Hub,
        registry: ConnectionRegistry,
        status: ServerStatus,
        timing: ServerTiming,
        statistics: ServerStatistics,
        presence: Presence,
        *,
        budget: ChannelBudget,
        max_channels: int,
    ) -> None:
        self._authenticator = authenticator
        self._access = access
        self._pipeline = pipeline
        self._hub = hub
        self._registry = registry
        self._status = status
        self._max_wait = timing.poll_wait
        self._budget = budget
        self._statistics = statistics
        self._presence = presence
        self._max_channels = max(max_channels, LEAST_CHANNELS)
        self._cache = LogCache(pipeline, hub, seconds=timing.poll_cache)

    async def poll(self, request: Request) -> Response:
        """Answer `POST poll`."""
        body = await request.json()
        return self.answer_at_once(request, body) or await self._answer(request, body)

    def answer_at_once(self, request: Request, body: Mapping[str, Any]) -> Response | None:
        """Return the answer to a poll that waits for nothing, as most do; else None.

        It is by token, of channels that need no rule, from a log in this process or the cache.

        Raises:
            HTTPError: the request is not valid, or not permitted.
            PublishError: the log cannot be read.

        """
        if body.get("wait"):
            return None
        principal = self._authenticator.identify_by_token(request)
        if principal is None:
            return None
        positions, denials = read_positions(body, self._max_channels)
        allows = self._access.allows_at_once
        if denials or not all(allows(principal, name) for name in positions):
            return None
        answers = self._read_at_once(principal, positions)
        if answers is None:
            return None
        self._note_poll(positions)
        return self._respond(answers, {})

    async def _answer(self, request: Request, body: Mapping[str, Any]) -> Response:
        principal = await self._authenticator.identify(request)
        positions, denials = read_positions(body, self._max_channels)
        self._spend(principal, positions)
        denials |= await self._denials(principal, positions)
        # Those who only poll at the moment are not the members: a client keeps its last list until
        # it is connected to the provider.
        decisions = {name: self._presence.denial(name, UNAVAILABLE) for name in positions}
        kept = {name: one for name, one in decisions.items() if one and name not in denials}
        granted = {
            name: after
            for name, after in positions.items()
            if name not in denials and name not in kept
        }
        wait = self._wait_seconds(request, body)
        if watched := [name for name in granted if name.startswith(PRESENCE)]:
            await self._presence.poll(principal, watched)
        self._note_poll(granted)
        if denials or not granted:
            wait = 0.0  # a denial is news: the client learns of it now
        if not wait:
            answers = await self._read_all(granted)
        else:
            answers = await self._wait_for_news(principal, granted, wait)
            # Access can be revoked while the poll waits.
            denials |= await self._denials(principal, granted)
        return self._respond(answers, denials | kept)

    def _read_at_once(
        self, principal: Principal, positions: Positions
    ) -> dict[str, Page | Reset] | None:
        """Return all answers, counted against the user's budget; None if one has to wait."""
        read: Callable[[str, Position | None], Page | Reset | None] = self._cache.find
        if self._pipeline.log.in_process:
            # Counted before the log is asked: it keeps the position of each channel.
            self._spend(principal, positions)
            read = self._read_local
        answers = {}
        for name, after in positions.items():
            answer = read(name, after)
            if answer is None:
                return None
            answers[name] = answer
        if not self._pipeline.log.in_process:
            self._spend(principal, positions)
        return answers

    def _read_local(self, channel: str, after: Position | None) -> Page | Reset | None:
        return run_at_once(self._cache.read(channel, after), default=None)

    def _spend(self, principal: Principal, positions: Positions) -> None:
        self._budget.check(principal.user, len(positions), time.monotonic())

    def _note_poll(self, channels: Iterable[str]) -> None:
        if self._hub.polled is not None:
            self._hub.polled |= dict.fromkeys(channels, time.monotonic())

    def _respond(
        self, answers: Mapping[str, Page | Reset], denials: Mapping[str, Denial]
    ) -> Response:
        self._statistics.polls += 1
        channels = {name: _describe(answer) for name, answer in answers.items()}
        for name, denial in denials.items():
            channels[name] = denial.to_json()
        return Response.json(
            {
                "channels": channels,
                "next_ms": None,
                "generation": self._status.generation,
                "status": self._status.fields,
            }
        )

    async def _denials(self, principal: Principal, channels: Iterable[str]) -> Mapping[str, Denial]:
        decisions = {name: await self._access.decide(principal, name) for name in channels}
        denials = {name: denial for name, denial in decisions.items() if denial}
        for denial in denials.values():
            self._statistics.refuse(denial.word, denial.message)
        return denials

    async def _wait_for_news(
        self, principal: Principal, positions: Positions, wait: float
    ) -> dict[str, Page | Reset]:
        """Return the answers, after a wait if there is no news; a long poll is a connection."""
        if not self._registry.acquire_slot(principal.user):
            raise HTTPError(
                429,
                "too_many_connections",
                f"{principal.user} has too many connections: close some, or poll without `wait`",
                headers={"retry-after": "5"},
            )
        try:
            return await self._answers(positions, wait)
        finally:
            self._registry.release_slot(principal.user)

    async def _answers(self, positions: Positions, wait: float) -> dict[str, Page | Reset]:
        waiter = LongPoll()
        self._registry.add(waiter)
        try:
            # Subscribing comes first: an event appended during the read ends the wait.
            await call_for_each(
                positions,
                lambda name, _: self._hub.subscribe(waiter, ChannelSubscription(name), None),
            )
            answers = await self._read_all(positions)
            if any(_has_news(answer) for answer in answers.values()):
                return answers
            await waiter.wait(wait)
            return await self._read_all(positions)
        finally:
            self._registry.discard(waiter)
            for channel in positions:
                self._hub.unsubscribe(waiter, channel)

    async def _read_all(self, positions: Positions) -> dict[str, Page | Reset]:
        return await call_for_each(positions, self._cache.read)

    def _wait_seconds(self, request: Request, body: Mapping[str, Any]) -> float:
        """Return the seconds that the poll may be held; a server that stops holds none."""
        if self._registry.draining or self._status.is_serverless:
            return 0.0
        # A held poll occupies a worker of a WSGI server: a few pages would occupy them all.
        if "wsgi_environ" in request.scope:
            return 0.0
        wait = body.get("wait") or 0
        if not isinstance(wait, int | float) or not 0 <= wait <= self._max_wait:
            limit = f"send a number of seconds from 0 to {self._max_wait:g}"
            raise HTTPError(400, "bad_wait", f"wait is not valid: {limit}")
        return float(wait)


def _has_news(answer: Page | Reset) -> bool:
    return isinstance(answer, Reset) or bool(answer.events)


def _describe(answer: Page | Reset) -> Any:
    if isinstance(answer, Page):
        return wire.encode_page(answer)
    position = None if answer.reason == "signal" else answer.top.to_json()
    return {"reset": answer.reason, "position": position}


async def call_for_each(
    arguments: Mapping[str, A], call: Callable[[str, A], Awaitable[R]]
) -> dict[str, R]:
    """Call a function for each channel, several at a time, and return the results.

    One after another, the calls to a distant log would take longer than clients wait.

    Args:
        arguments: the channels, each with the function's second argument.
        call: the function. Its first error cancels the other calls, and is raised.

    """
    if len(arguments) == 1:
        # Most clients have one channel, and need no task.
        ((name, argument),) = arguments.items()
        return {name: await call(name, argument)}
    room = asyncio.Semaphore(CALLS_AT_ONCE)

    async def call_one(channel: str, argument: A) -> R:
        async with room:
            return await call(channel, argument)

    try:
        async with asyncio.TaskGroup() as group:
            tasks = {
                name: group.create_task(call_one(name, argument))
                for name, argument in arguments.items()
            }
    except BaseExceptionGroup as errors:
        # The channels have one log, so its first error describes the others too.
        raise errors.exceptions[0] from None
    return {name: task.result() for name, task in tasks.items()}
