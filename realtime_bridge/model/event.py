"""Named message on a channel."""

from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Self

import orjson
from msgspec import Struct, StructMeta
from msgspec.structs import astuple, replace

from realtime_bridge.errors import InvalidEventError
from realtime_bridge.model.channel import check_channel
from realtime_bridge.model.ids import event_id
from realtime_bridge.model.position import MAX_LABEL, Position, is_label

if TYPE_CHECKING:
    from inspect import Signature

MAX_DATA_BYTES = 1024 * 1024
"""The hard limit of an event's data, encoded."""

MAX_EVENT_NAME = 64
MAX_BATCH = 500
"""The most events of one append."""


class _EventMeta(StructMeta):
    """What makes events: it checks and encodes what a caller says; a log's own pass by it."""

    @property
    def __signature__(cls) -> "Signature":  # noqa: N805 -- of a metaclass, an instance is a class
        from inspect import signature

        return signature(cls.__call__)

    def __call__(
        cls,  # noqa: N805 -- of a metaclass, an instance is a class
        *,
        channel: str,
        event: str,
        data: Any,
        id: str | None = None,  # noqa: A002 -- the field's name on the wire
        key: str | None = None,
        source: str | None = None,
        time: int | None = None,
        position: Position | None = None,
    ) -> Any:
        return cls.create(channel, event, data, id, key, source, time, position)

    def create(
        cls,  # noqa: N805 -- of a metaclass, an instance is a class
        channel: str,
        event: str,
        data: Any,
        id: str | None,  # noqa: A002 -- the field's name on the wire
        key: str | None,
        source: str | None,
        time: int | None = None,
        position: Position | None = None,
    ) -> Any:
        """Do as `Event(…)` does, at two thirds of its cost: the call by name takes the rest."""
        return _unchecked(
            cls,
            check_channel(channel),
            _check_name(event),
            _encode(data),
            event_id() if id is None else _check_label("id", id),
            key if key is None else _check_label("key", key),
            source if source is None else _check_label("source", source),
            time,
            position,
        )


_unchecked: Callable[..., Any] = StructMeta.__call__


class Event(Struct, frozen=True, gc=False, metaclass=_EventMeta):
    """One named message on a channel: checked when it is made, and never changed after.

    The data is encoded at once, so that changing the object it was made from changes nothing here,
    and an event that exists can be published.

    Args:
        channel: where it flows, see `channels.check_channel`.
        event: its name, 1 to 64 printable characters.
        data: anything JSON can say, up to 1 MiB encoded. NaN and infinities become null.
        id: the idempotency key; a UUIDv7 is made when absent.
        key: what the event is about; the log keeps the latest event per key.
        source: the client that caused it; that client's own handler skips it.
        time: milliseconds since the Unix epoch, given by the log.
        position: its place in the channel, given by the log.

    Raises:
        InvalidEventError: one of these is not so.

    """

    channel: str
    event: str
    body: bytes
    """The data, as JSON."""
    id: str
    key: str | None
    source: str | None
    time: int | None
    position: Position | None

    if TYPE_CHECKING:  # type checkers read this, and pass over a metaclass's call

        def __init__(
            self,
            *,
            channel: str,
            event: str,
            data: Any,
            id: str | None = None,  # noqa: A002 -- the field's name on the wire
            key: str | None = None,
            source: str | None = None,
            time: int | None = None,
            position: Position | None = None,
        ) -> None: ...

    @classmethod
    def from_trusted(
        cls,
        channel: str,
        event: str,
        body: bytes,
        *,
        id: str,  # noqa: A002 -- the field's name on the wire
        key: str | None,
        source: str | None,
        time: int | None,
        position: Position | None,
    ) -> Self:
        """Return an event as a log holds it: it was checked when it was made."""
        made: Self = _unchecked(cls, channel, event, body, id, key, source, time, position)
        return made

    @property
    def data(self) -> Any:
        """The data, decoded anew on each access."""
        return orjson.loads(self.body)

    def with_position(self, position: Position | None, time: int) -> Self:
        """Return the same event as the log holds it."""
        return replace(self, time=time, position=position)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return _unchecked, (Event, *astuple(self))


def _check_name(name: str) -> str:
    if not isinstance(name, str) or not _is_name(name):
        raise InvalidEventError(
            f"Bad event name {str(name)[:80]!r}: use 1 to {MAX_EVENT_NAME} printable characters, "
            "like job.progress"
        )
    return name


@lru_cache(maxsize=1024)
def _is_name(name: str) -> bool:
    return 0 < len(name) <= MAX_EVENT_NAME and name.isprintable()


def _check_label(field_name: str, value: str) -> str:
    if not is_label(value):
        raise InvalidEventError(
            f"Bad {field_name} {str(value)[:140]!r}: "
            f"use a text of 1 to {MAX_LABEL} printable characters"
        )
    return value


def _encode(data: Any) -> bytes:
    try:
        body = orjson.dumps(data)
    except TypeError as error:
        raise InvalidEventError(
            f"The data is not JSON: {error}. Use dict, list, str, int, float, bool and None"
        ) from error
    if len(body) > MAX_DATA_BYTES:
        raise InvalidEventError(
            f"The data is {len(body):,} bytes of JSON, over the limit of {MAX_DATA_BYTES:,}. "
            "Store it elsewhere and publish where to find it"
        )
    return b"%b" % body  # orjson's own takes a kilobyte's place, wherever that is free
