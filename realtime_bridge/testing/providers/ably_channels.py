"""The channels of a local Ably: their recent messages, by serial, and who is attached."""

import secrets
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from realtime_bridge.testing.providers.ably_keys import now
from realtime_bridge.testing.providers.ably_wire import Message, RefusedByAbly, size

MESSAGE_BYTES = 65_536
"""The most bytes of one publish, all its messages together."""

KEPT_MILLISECONDS = 120_000
"""How long messages, and the ids that tell a repeated one, are kept."""

_NAME_LENGTH = 2_048

Subscriber = Callable[["Publication"], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Publication:
    """The messages of one publish: they are delivered together.

    Args:
        serial: its place in the channel; later ones are greater.
        time: when it came, in milliseconds since the Unix epoch.
        connection: the connection that sent it; None when it came over HTTP.

    """

    serial: str
    time: int
    connection: str | None
    messages: tuple[Message, ...]


@dataclass(kw_only=True)
class Channel:
    """One channel: what it keeps, and who listens."""

    instance: str = field(default_factory=lambda: secrets.token_hex(4))
    count: int = 0
    kept: deque[Publication] = field(default_factory=deque)
    ids: dict[str, tuple[int, str]] = field(default_factory=dict)
    subscribers: list[Subscriber] = field(default_factory=list)

    @property
    def serial(self) -> str:
        """The place of what came last."""
        return f"{self.count:012}@{self.instance}"

    def since(self, serial: str) -> list[Publication] | None:
        """Return what came after `serial`; None when there may have been more."""
        self._forget()
        number, _, instance = serial.partition("@")
        oldest = self.kept[0].serial if self.kept else None
        if instance != self.instance or not number.isdigit() or int(number) > self.count:
            return None
        if int(number) < self.count and (oldest is None or int(oldest[:12]) > int(number) + 1):
            return None
        return [publication for publication in self.kept if publication.serial > serial]

    def take(self, messages: Sequence[Message], connection: str | None) -> list[str]:
        """Keep and deliver what was not published before; return the serials of all."""
        self._forget()
        time = now()
        known = {one["id"]: self.ids[one["id"]][1] for one in messages if one.get("id") in self.ids}
        fresh = [one for one in messages if one.get("id") not in known]
        if fresh:
            self.count += 1
        placed = tuple(
            one
            | {"serial": f"{self.serial}:{index:03}", "timestamp": time, "action": 0}
            | ({} if "id" in one else {"id": f"{self.serial}:{index}"})
            for index, one in enumerate(fresh)
        )
        self.ids |= {one["id"]: (time, one["serial"]) for one in placed}
        if placed:
            self._deliver(
                Publication(serial=self.serial, time=time, connection=connection, messages=placed)
            )
        made = iter(placed)
        return [known.get(one.get("id", "")) or next(made)["serial"] for one in messages]

    def _deliver(self, publication: Publication) -> None:
        self.kept.append(publication)
        for subscriber in list(self.subscribers):
            subscriber(publication)

    def _forget(self) -> None:
        before = now() - KEPT_MILLISECONDS
        while self.kept and self.kept[0].time < before:
            self.kept.popleft()
        while self.ids and next(iter(self.ids.values()))[0] < before:
            del self.ids[next(iter(self.ids))]


class Channels:
    """All channels; each begins when it is first named."""

    def __init__(self) -> None:
        self._channels: dict[str, Channel] = {}

    def get(self, name: str) -> Channel:
        """Return the channel of this name.

        Raises:
            RefusedByAbly: 40010, no channel can have it.

        """
        if not name or name[0] in "[:" or "\n" in name or len(name) > _NAME_LENGTH:
            raise RefusedByAbly(40010, 400, f"Invalid channel name: {name[:80]!r}")
        return self._channels.setdefault(name, Channel())

    def publish(
        self, name: str, messages: Sequence[Message], connection: str | None = None
    ) -> list[str]:
        """Keep and deliver messages; return their serials.

        Raises:
            RefusedByAbly: the channel's name, the ids or the size are not as they must be.

        """
        channel = self.get(name)
        check(messages)
        return channel.take(messages, connection)


def check(messages: Sequence[Message]) -> None:
    """Accept messages that may be published together.

    Raises:
        RefusedByAbly: 40009, they are too large; 40031, their ids do not belong together.

    """
    total = sum(map(size, messages))
    if total > MESSAGE_BYTES:
        raise RefusedByAbly(
            40009,
            400,
            f"Maximum message length exceeded; size was {total}, limit is {MESSAGE_BYTES}",
        )
    ids = [message.get("id") for message in messages]
    if len(messages) > 1 and any(ids) and not _belong_together(ids):
        raise RefusedByAbly(40031, 400, "The ids of several messages are BASE:0, BASE:1, and so on")


def history(
    channel: Channel, *, start: int, end: int, until: str | None, forwards: bool
) -> list[Message]:
    """Return the kept messages of that time, oldest or newest first."""
    channel._forget()
    found: list[Message] = [
        message
        for publication in channel.kept
        if start <= publication.time <= end and (until is None or publication.serial <= until)
        for message in publication.messages
    ]
    return found if forwards else found[::-1]


def _belong_together(ids: Iterable[Any]) -> bool:
    bases = {
        str(one).removesuffix(f":{index}") if str(one).endswith(f":{index}") else None
        for index, one in enumerate(ids)
    }
    return len(bases) == 1 and None not in bases
