"""Named message on a channel."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Self

import orjson
from msgspec import Struct, StructMeta
from msgspec.structs import astuple, replace

from realtime_bridge.compiled import twin
from realtime_bridge.errors import InvalidEventError
from realtime_bridge.model.channel import PRESENCE, check_channel, check_event_channel
from realtime_bridge.model.event_data import (
    BROWSER_INTEGERS,
    MAX_DATA_BYTES,
    check_size,
    encode_large_integers,
)
from realtime_bridge.model.ids import event_id
from realtime_bridge.model.key_write import Fold, KeyWrite, Take, check_key_write, read_will
from realtime_bridge.model.names import check_event_name, check_label
from realtime_bridge.model.position import Position
from realtime_bridge.model.traceparent import valid_traceparent

if TYPE_CHECKING:
    from inspect import Signature

MAX_BATCH = 500
"""Events of one append, at most."""


class _EventMeta(StructMeta):
    """Constructor of events, which checks and encodes; a log's stored events skip it."""

    @property
    def __signature__(cls) -> "Signature":  # noqa: N805 -- of a metaclass, an instance is a class
        from inspect import Signature, signature

        functions = (cls.__call__, _with_options)
        parameters = [one for each in functions for one in signature(each).parameters.values()]
        return Signature([one for one in parameters if one.kind is one.KEYWORD_ONLY])

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
        # Together: defaults of arguments by name cost each event 20 ns a piece.
        **options: Any,
    ) -> Any:
        created: Event = create_event(channel, event, data, id, key, source, time, position)
        if cls is not Event:
            created = _construct(cls, *astuple(created))
        return _with_options(created, **options) if options else created


# The constructor of msgspec itself, without the checks above.
_construct: Callable[..., Any] = StructMeta.__call__


class Event(Struct, frozen=True, gc=False, metaclass=_EventMeta):
    """Named message on a channel, checked on creation and immutable.

    The data is encoded at once: a later change of the original object has no effect, and every
    event can be published.

    Args:
        channel: name of the channel, see `model.channel.check_channel`.
        event: name of the event, 1 to 200 printable characters.
        data: any JSON value, up to 1 MiB encoded. NaN and infinities become null.
        id: idempotency key; None creates a UUIDv7.
        key: subject of the event; the log keeps the latest event per key.
        source: id of the client that caused the event; that client's own handler skips it.
        time: milliseconds since the Unix epoch, given by the log.
        position: place in the channel, given by the log.
        fold: way in which the event changes what the log keeps for its key: `append` adds the
            items of a list, `end` ends the key, `note` stays beside it; None replaces.
        attempt: name of the run that owns the key.
        take: condition under which the attempt takes the key over: `always`, `open` or `absent`.
        lease: seconds of the owner's silence after which the log ends the key.
        will: event of that end: an object of `event` and `data`.
        traceparent: trace context of the publish, in the form of W3C; another text is dropped.

    Raises:
        InvalidEventError: an argument is not valid.

    """

    channel: str
    event: str
    body: bytes
    """Data, as JSON."""
    id: str
    key: str | None
    source: str | None
    time: int | None
    position: Position | None
    has_large_integers: bool = False
    """True if the data has an integer beyond 2^53, which browsers round."""
    write: KeyWrite | None = None
    """Change of an owned key; None for a plain event."""
    traceparent: str | None = None
    """Trace context of the publish; None where nothing traced it."""

    if TYPE_CHECKING:  # type checkers ignore the call of a metaclass

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
            fold: Fold | None = None,
            attempt: str | None = None,
            take: Take | None = None,
            lease: int | None = None,
            will: Any = None,
            traceparent: str | None = None,
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
        write: KeyWrite | None = None,
        traceparent: str | None = None,
    ) -> Self:
        """Return an event of a log without checks: its creation has checked it."""
        event_of_log: Self = _construct(
            cls, channel, event, body, id, key, source, time, position, False, write, traceparent
        )
        return event_of_log

    @classmethod
    def internal(
        cls,
        channel: str,
        event: str,
        body: bytes,
        *,
        id: str | None = None,  # noqa: A002 -- the field's name on the wire
        key: str | None = None,
        write: KeyWrite | None = None,
    ) -> Self:
        """Return an event of a server or worker on an internal channel; see `is_internal`."""
        return cls.from_trusted(
            channel,
            event,
            body,
            id=id or event_id(),
            key=key,
            source=None,
            time=None,
            position=None,
            write=write,
        )

    @classmethod
    def from_storage(
        cls,
        channel: str,
        event: str,
        body: bytes,
        *,
        id: str,  # noqa: A002 -- the field's name on the wire
        key: str | None,
        source: str | None,
        time: int,
        epoch: str,
        offset: int,
        fold: str | None = None,
        attempt: str | None = None,
        traceparent: str | None = None,
    ) -> Self:
        """Return an event of a log that other programs can write to, with all its checks.

        Raises:
            ValueError: a part is not valid; a client could not read the event.

        """
        orjson.loads(body)  # a check: it rejects half a surrogate too, as other parsers do
        if b"\n" in body or b"\r" in body:
            # JSON has them between values alone, and lines separate server-sent events.
            body = body.replace(b"\n", b" ").replace(b"\r", b" ")
        if id is None or type(time) is not int:
            raise InvalidEventError("The stored event has no id or no time in milliseconds")
        event_of_log: Self = _construct(
            cls,
            check_channel(channel),
            check_event_name(event),
            body,
            id,
            key if key is None else check_label("key", key),
            source if source is None else check_label("source", source),
            time,
            Position(epoch, offset, id),  # it checks the id
            False,
            None
            if fold is attempt is None
            else check_key_write(key=key, body=body, fold=fold, attempt=attempt, stored=True),
            None if traceparent is None else valid_traceparent(traceparent),
        )
        return event_of_log

    @property
    def data(self) -> Any:
        """Data, decoded on each access."""
        return orjson.loads(self.body)

    @property
    def fold(self) -> Fold | None:
        """Way in which the event changes its key; None replaces."""
        return None if self.write is None else self.write.fold

    @property
    def attempt(self) -> str | None:
        """Name of the run that owns the key."""
        return None if self.write is None else self.write.attempt

    def with_position(self, position: Position | None, time: int) -> Self:
        """Return the same event with the position and the time that the log gave it."""
        return replace(self, time=time, position=position)

    # Pickling calls the constructor, which would encode the body a second time.
    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return _construct, (Event, *astuple(self))


@twin(Event, orjson.dumps, BROWSER_INTEGERS, MAX_DATA_BYTES)
def create_event(
    channel: str,
    event: str,
    data: Any,
    id: str | None,  # noqa: A002 -- the field's name on the wire
    key: str | None,
    source: str | None,
    time: int | None = None,
    position: Position | None = None,
    /,
) -> Event:
    """Return the same as `Event(…)` in two thirds of its time: arguments by name are slow.

    Raises:
        InvalidEventError: an argument is not valid.

    """
    # A log gives positions: an event of presence that has one was written by a server.
    if type(channel) is str and (position is None or not channel.startswith(PRESENCE)):
        check_event_channel(channel)
    else:
        check_channel(channel)
    check_event_name(event)
    has_large_integers = False
    try:  # without a call: each publish pays for it
        body = orjson.dumps(data, None, BROWSER_INTEGERS)
    except TypeError as error:
        body, has_large_integers = encode_large_integers(data, error), True
    created: Event = _construct(
        Event,
        channel,
        event,
        check_size(body),
        event_id() if id is None else check_label("id", id),
        key if key is None else check_label("key", key),
        source if source is None else check_label("source", source),
        time,
        position,
        has_large_integers,
        None,
        None,
    )
    return created


def _with_options(
    event: "Event",
    *,
    fold: str | None = None,
    attempt: str | None = None,
    take: str | None = None,
    lease: int | None = None,
    will: Any = None,
    traceparent: Any = None,
) -> "Event":
    """Return the event with a change of an owned key, and with a trace context."""
    if traceparent is not None:
        event = replace(event, traceparent=valid_traceparent(traceparent))
    if all(value is None for value in (fold, attempt, take, lease, will)):
        return event
    write = check_key_write(
        key=event.key,
        body=event.body,
        fold=fold,
        attempt=attempt,
        take=take,
        lease=lease,
        will=read_will(will),
        stored=event.position is not None,
    )
    return replace(event, write=write)
