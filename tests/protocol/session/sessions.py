"""Sessions in the states that the tests need, and the readers of their commands."""

from collections.abc import Iterable
from typing import Any

import orjson

from realtime_bridge.model.page import Page
from realtime_bridge.model.position import Position
from realtime_bridge.protocol.session.session import Session
from realtime_bridge.protocol.session.session_commands import (
    Close,
    Command,
    ConnectionLimits,
    Send,
    Subscribe,
)
from realtime_bridge.protocol.session.subscription import ChannelSubscription
from realtime_bridge.protocol.session.timing import SessionTiming
from realtime_bridge.protocol.wire import messages

EPOCH = "k3v9q2wz"


AHEAD_OF_ALL = 1_000_000.0
"""A token's expiry that no test reaches."""


TIMING = SessionTiming(progress_check=AHEAD_OF_ALL)
"""The usual durations; the tests report the progress of slow clients themselves."""


def frame(kind: str, **fields: Any) -> str:
    return messages.encode(kind, **fields).decode()


def opened(**limits: Any) -> Session:
    return Session(ConnectionLimits(**limits), TIMING, draw=0.5, now=0.0)


def admitted(**limits: Any) -> Session:
    session = opened(**limits)
    session.accept("42", "c_8f", expires=AHEAD_OF_ALL, now=0.0)
    return session


def requested(commands: Iterable[Command]) -> list[tuple[str, Position | None]]:
    """Return the channels and positions that the commands, all of them, subscribe to."""
    subscribes = [command for command in commands if isinstance(command, Subscribe)]
    assert len(subscribes) == len(list(commands))
    return [(command.subscription.channel, command.position) for command in subscribes]


def answer(
    session: Session, channel: str | ChannelSubscription, offset: int, *, more: bool
) -> bool:
    """Answer a subscription with an empty page; return whether the client got the answer."""
    page = Page(events=(), top=Position(EPOCH, offset), more=more)
    subscription = session.subscriptions[channel] if isinstance(channel, str) else channel
    return bool(session.subscription_ready(subscription, page, recovered=True))


def live(session: Session, channel: str) -> bool:
    """Return whether events of the channel are written to the client."""
    subscription = session.subscriptions.get(channel)
    return subscription is not None and not subscription.behind


def subscribed(*channels: str, now: float = 0.0, offset: int = 0, **limits: Any) -> Session:
    session = admitted(**limits)
    for channel in channels:
        session.receive(frame("subscribe", channel=channel), now)
        assert answer(session, channel, offset, more=False)
    return session


def sent(commands: Iterable[Command]) -> list[dict[str, Any]]:
    return [orjson.loads(command.message) for command in commands if isinstance(command, Send)]


def refusal(commands: list[Command]) -> tuple[int, str]:
    (refused,) = sent(commands)
    assert refused["type"] == "refused"
    return refused["code"], refused["message"]


def failure(commands: list[Command]) -> tuple[int, int, str]:
    """Return the close code, and the error before it."""
    error_command, close = commands
    assert isinstance(close, Close)
    (error,) = sent([error_command])
    assert error["type"] == "error"
    assert close.reason == error["message"][:120]
    return close.code, error["code"], error["message"]


def nothing(_: str) -> int | None:
    return None


def heartbeat(session: Session, now: float, tops: dict[str, int]) -> dict[str, int]:
    (beat,) = sent(session.tick(now, tops.get, unsent=0))
    assert beat["type"] == "heartbeat"
    offsets: dict[str, int] = beat["offsets"]
    return offsets
