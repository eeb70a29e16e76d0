"""Channels of a local Ably: recent publications by serial, and their subscribers."""

import secrets
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from realtime_bridge.testing.providers.ably.grant import now
from realtime_bridge.testing.providers.ably.protocol import AblyError, Message, message_bytes
from realtime_bridge.testing.providers.faults import Faults

MESSAGE_BYTES = 65_536
"""Largest publish in bytes, all its messages together (Ably docs, limits: 64 KiB)."""

HISTORY_MILLISECONDS = 120_000
"""Lifetime of messages and of their ids (Ably docs, history and idempotency: 2 minutes)."""

_NAME_LENGTH = 2_048

Subscriber = Callable[["Publication"], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Publication:
    """Messages of one publish, which are delivered together.

    Args:
        serial: the position in the channel; serials increase.
        time: the time of the publish, in milliseconds since the Unix epoch.
        connection: the id of the sending connection; None after a publish over HTTP.
        messages: the stored messages.

    """

    serial: str
    time: int
    connection: str | None
    messages: tuple[Message, ...]


@dataclass(kw_only=True)
class Channel:
    """Recent publications and subscribers of one channel.

    Args:
        instance: a random name; serials of another instance cannot be resumed.
        count: the number of publications.
        publications: the publications of the last two minutes, oldest first.
        ids: the time and the serial of each recent message id, oldest first.
        subscribers: the functions that receive publications.

    """

    instance: str = field(default_factory=lambda: secrets.token_hex(4))
    count: int = 0
    publications: deque[Publication] = field(default_factory=deque)
    ids: dict[str, tuple[int, str]] = field(default_factory=dict)
    subscribers: list[Subscriber] = field(default_factory=list)

    @property
    def serial(self) -> str:
        """Serial of the newest publication."""
        return f"{self.count:012}@{self.instance}"

    def since(self, serial: str) -> list[Publication] | None:
        """Return the publications after `serial`, or None if some of them have expired."""
        self._expire()
        number, _, instance = serial.partition("@")
        oldest = self.publications[0].serial if self.publications else None
        if instance != self.instance or not number.isdigit() or int(number) > self.count:
            return None
        if int(number) < self.count and (oldest is None or int(oldest[:12]) > int(number) + 1):
            return None
        return [publication for publication in self.publications if publication.serial > serial]

    def append(self, messages: Sequence[Message], connection: str | None) -> list[str]:
        """Store and deliver the messages with new ids; return the serials of all messages."""
        self._expire()
        time = now()
        known_serials = {
            one["id"]: self.ids[one["id"]][1] for one in messages if one.get("id") in self.ids
        }
        unseen = [one for one in messages if one.get("id") not in known_serials]
        if unseen:
            self.count += 1
        new_messages = tuple(
            one
            | {"serial": f"{self.serial}:{index:03}", "timestamp": time, "action": 0}
            | ({} if "id" in one else {"id": f"{self.serial}:{index}"})
            for index, one in enumerate(unseen)
        )
        self.ids |= {one["id"]: (time, one["serial"]) for one in new_messages}
        if new_messages:
            self._deliver(
                Publication(
                    serial=self.serial, time=time, connection=connection, messages=new_messages
                )
            )
        serials = (one["serial"] for one in new_messages)
        return [known_serials.get(one.get("id", "")) or next(serials) for one in messages]

    def history(self, *, start: int, end: int, until: str | None, forwards: bool) -> list[Message]:
        """Return the messages of a time span, oldest or newest first.

        Args:
            start: the begin of the span, in milliseconds since the Unix epoch.
            end: its end.
            until: the serial of the last publication; None is the newest.
            forwards: whether the oldest message comes first.

        """
        self._expire()
        messages: list[Message] = [
            message
            for publication in self.publications
            if start <= publication.time <= end and (until is None or publication.serial <= until)
            for message in publication.messages
        ]
        return messages if forwards else messages[::-1]

    def _deliver(self, publication: Publication) -> None:
        self.publications.append(publication)
        # A subscriber that overflows unsubscribes during the loop.
        for subscriber in list(self.subscribers):
            subscriber(publication)

    def _expire(self) -> None:
        before = now() - HISTORY_MILLISECONDS
        while self.publications and self.publications[0].time < before:
            self.publications.popleft()
        while self.ids and next(iter(self.ids.values()))[0] < before:
            del self.ids[next(iter(self.ids))]


class Channels:
    """All channels of an application; a channel begins at its first use.

    Args:
        faults: the limit of names.

    """

    def __init__(self, faults: Faults) -> None:
        self._faults = faults
        self._channels: dict[str, Channel] = {}

    def get(self, name: str) -> Channel:
        """Return the channel of this name.

        Raises:
            AblyError: 40010, the name is not valid.

        """
        # Ably docs, channels: a name neither begins with `[` or `:` nor contains a newline.
        is_valid = name and name[0] not in "[:" and "\n" not in name and len(name) <= _NAME_LENGTH
        if not is_valid or not self._faults.accepts_name(name):
            raise AblyError(40010, 400, f"Invalid channel name: {name[:80]!r}")
        return self._channels.setdefault(name, Channel())

    def publish(
        self, name: str, messages: Sequence[Message], connection: str | None = None
    ) -> list[str]:
        """Store and deliver messages; return their serials.

        Raises:
            AblyError: the channel's name, the ids or the size are not valid.

        """
        channel = self.get(name)
        check_publish(messages)
        return channel.append(messages, connection)


def check_publish(messages: Sequence[Message]) -> None:
    """Check the size and the ids of one publish.

    Raises:
        AblyError: 40009, the messages are too large; 40031, their ids have no common base.

    """
    total = sum(map(message_bytes, messages))
    if total > MESSAGE_BYTES:
        raise AblyError(
            40009,
            400,
            f"Maximum message length exceeded; size was {total}, limit is {MESSAGE_BYTES}",
        )
    ids = [message.get("id") for message in messages]
    # Ably specification RSL1k: one publish of several messages has the ids BASE:0, BASE:1, …
    if len(messages) > 1 and any(ids) and not _have_common_base(ids):
        raise AblyError(40031, 400, "The ids of several messages are BASE:0, BASE:1, and so on")


def _have_common_base(ids: Iterable[Any]) -> bool:
    bases = {
        str(one).removesuffix(f":{index}") if str(one).endswith(f":{index}") else None
        for index, one in enumerate(ids)
    }
    return len(bases) == 1 and None not in bases
