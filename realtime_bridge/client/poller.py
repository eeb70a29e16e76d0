"""Polls of one client: requests to the log, and the events, resets or errors that answer them."""

import logging
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from realtime_bridge.client.bridge_http import OK, HTTPResult
from realtime_bridge.client.descriptor import RouteMissingError, TokenUnavailableError
from realtime_bridge.client.runner import ClientRunner
from realtime_bridge.client.subscription_set import SubscriptionSet
from realtime_bridge.client.transport import Message, TransportTools
from realtime_bridge.model.position import Position
from realtime_bridge.protocol.wire import messages
from realtime_bridge.protocol.wire.messages import ProtocolError

Positions = Mapping[str, Position | None]

FINAL = (400, 403)
"""Codes of a refusal that would be repeated: the name is invalid, or the user has no access."""

UNAVAILABLE = 503
"""Code of a channel that comes by the provider's connection, and by no poll."""

FORBIDDEN = "this user may not listen to it"

_logger = logging.getLogger("realtime_bridge.client")


@dataclass(slots=True)
class PollAnswer:
    """Effect of the answers to a poll on the channels.

    Args:
        next_ms: Wait that the server asked for, in milliseconds.
        generation: Version of the deployment's settings.
        ok: Whether the log and the backend work.
        moved: Whether the answer brought events or a reset.
        missing: Channels of which the log has more events.
        denied: Channels that the answer denied: connections have to leave them too.

    """

    next_ms: int | None = None
    generation: int = 0
    ok: bool = True
    moved: bool = False
    missing: list[str] = field(default_factory=list)
    denied: list[str] = field(default_factory=list)


class Poller:
    """Polls of one client, and their effect on its channels and its machine.

    Args:
        tools: Parts of the client.
        runner: Runner of the machine.
        recover: Requests a channel's missing events on the live transport, and returns whether that
            transport pushes the channel; if not, another poll has to follow.
        leave: Makes all connections leave channels that a poll denied.
        is_final: Returns whether the refusal of a channel with this code would be repeated.

    """

    def __init__(
        self,
        tools: TransportTools,
        runner: ClientRunner,
        *,
        recover: Callable[[str], bool],
        leave: Callable[[Collection[str]], None],
        is_final: Callable[[object], bool],
    ) -> None:
        self._tools = tools
        self._runner = runner
        self._recover = recover
        self._leave = leave
        self._is_final = is_final

    async def poll(self, names: Collection[str] | None) -> None:
        """Poll these channels, or all of them."""
        answer = PollAnswer()
        try:
            result = await self._read(names, answer)
        except (TokenUnavailableError, RouteMissingError) as error:
            _logger.info("poll failed: error=%r", error)
            result = HTTPResult(message=str(error))
        self._runner.batch(self._end, answer, result)

    async def _read(self, names: Collection[str] | None, answer: PollAnswer) -> HTTPResult:
        """Read one piece after the other until one fails, and return the last result."""
        channels, result = self._tools.channels, HTTPResult(OK)
        limit = self._tools.descriptors.channel_limit
        for piece in chunked(channels.names if names is None else names, limit):
            positions, result = await request(self._tools, piece)
            if result.status != OK:
                break
            try:
                _apply(answer, result.fields or {}, positions, channels, self._is_final)
            except (ProtocolError, KeyError, TypeError, ValueError) as error:
                _logger.info("invalid answer to a poll: error=%r", error)
                result = HTTPResult.foreign(OK)
            if answer.denied:
                self._runner.batch(self._leave, answer.denied)
                answer.denied = []
            if result.status != OK:
                break
        return result

    def _end(self, answer: PollAnswer, result: HTTPResult) -> None:
        machine = self._runner.machine
        if result.status != OK:
            machine.poll_failed(result.status, result.retry_after, result.code, result.message)
            return
        unpushed = [channel for channel in answer.missing if not self._recover(channel)]
        machine.poll_succeeded(
            moved=answer.moved, more=bool(unpushed), next_ms=answer.next_ms, ok=answer.ok
        )
        machine.generation(answer.generation)


async def request(tools: TransportTools, names: Sequence[str]) -> tuple[Positions, HTTPResult]:
    """Request the events after the positions of channels, and return both.

    Raises:
        TokenUnavailableError: the application has no token now.
        RouteMissingError: the server does not offer polls.

    """
    token = await tools.descriptors.token()
    url = tools.descriptors.url("poll")
    # Read after the token: events may arrive while the application fetches one.
    positions = tools.channels.positions_of(names)
    return positions, await tools.http.post(url, {"positions": positions}, token)


def chunked(names: Collection[str], size: int) -> list[list[str]]:
    """Cut names into lists that a server accepts in one poll; no names are one list."""
    each = list(names)
    return [each[start : start + size] for start in range(0, len(each), size)] or [[]]


def _apply(
    answer: PollAnswer,
    fields: Mapping[str, Any],
    asked: Positions,
    channels: SubscriptionSet,
    is_final: Callable[[object], bool],
) -> None:
    """Hand the events and resets of an answer to the channels."""
    by_channel = fields.get("channels")
    if not isinstance(by_channel, dict):
        raise ProtocolError("the answer to a poll has no channels")
    next_ms, status = fields.get("next_ms"), fields.get("status")
    answer.next_ms = next_ms if isinstance(next_ms, int) else answer.next_ms
    answer.generation = max(answer.generation, fields.get("generation") or 0)
    answer.ok &= not isinstance(status, dict) or is_healthy(status)
    for name, part in by_channel.items():
        # A channel may have been denied while the request was in flight.
        if name in asked and name not in channels.errors and isinstance(part, dict):
            _apply_channel(answer, name, part, asked[name], channels, is_final)


def _apply_channel(
    answer: PollAnswer,
    name: str,
    fields: Mapping[str, Any],
    asked: Position | None,
    channels: SubscriptionSet,
    is_final: Callable[[object], bool],
) -> None:
    if error := fields.get("error"):
        if isinstance(error, dict) and is_final(error.get("code")):
            _deny(answer, name, str(error.get("message")), channels)
        # A rule that failed may succeed next time: the next poll includes the channel again.
        return
    reason = fields.get("reset")
    if reason == "forbidden":
        _deny(answer, name, FORBIDDEN, channels)
        return
    position = fields.get("position")
    if reason:
        answer.moved = True
        top = Position.from_json(position) if position else None
        is_missing = channels.reset(name, reason, top, asked)
    else:
        answer.moved |= bool(fields.get("events"))
        is_missing = apply_page(channels, name, fields, position, asked)
    if is_missing:
        answer.missing.append(name)


def _deny(answer: PollAnswer, name: str, reason: str, channels: SubscriptionSet) -> None:
    channels.deny(name, reason)
    answer.denied.append(name)


def is_healthy(fields: Message) -> bool:
    """Return whether a `status` reports a working log and backend; absent means no fault."""
    return all(fields.get(name, "ok") == "ok" for name in ("log", "backend"))


def apply_page(
    channels: SubscriptionSet,
    name: str,
    fields: Mapping[str, Any],
    position: Any,
    asked: Position | None,
) -> bool:
    """Hand a page of the log to its channel, and return whether the log has more events.

    An event that breaks the rules makes the page a gap: the next request begins after the page, so
    that no client asks for such an event again and again.

    Args:
        channels: Channels of the client.
        name: Name of the channel.
        fields: Events of the page, and whether the log has more.
        position: Position of the channel, as the server wrote it.
        asked: Position in the request.

    """
    more = bool(fields.get("more"))
    try:
        events = [messages.decode_event(event) for event in fields.get("events") or ()]
    except (ProtocolError, TypeError) as error:
        _logger.warning("unreadable event: channel=%s error=%r", name, error)
        # A server sends the next page, and live events after it, only on request.
        return channels.reset(name, "truncated", Position.from_json(position), asked) or more
    return channels.page(name, events, Position.from_json(position), more=more)


def as_messages(channel: str, fields: Mapping[str, Any]) -> Iterator[Message]:
    """Yield one channel's part of an answer as messages of a connection."""
    name = {"channel": channel}
    if error := fields.get("error"):
        yield {"type": "refused", **name, **error}
    elif fields.get("reset") == "forbidden":
        yield {"type": "refused", **name, "code": 403, "message": FORBIDDEN}
    else:
        position = fields.get("position") or {}
        if reason := fields.get("reset"):
            yield {"type": "reset", **name, "reason": reason, **position}
        page = {"events": fields.get("events"), "more": fields.get("more")}
        yield {"type": "subscribed", **name, **position, **page}
