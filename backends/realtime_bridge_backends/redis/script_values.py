"""Arguments of the log's script, and its answers."""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

from msgspec import msgpack

from realtime_bridge.model.event import Event
from realtime_bridge.model.key_write import KeyWrite, Will
from realtime_bridge.model.names import is_label
from realtime_bridge.model.position import Position
from realtime_bridge.model.receipt import Lease, Receipt, Renewal
from realtime_bridge_backends.redis.command_connection import Argument
from realtime_bridge_backends.redis.stored_events import halves

CALL_BYTES = 1024 * 1024
"""The most bytes of one call: Redis serves no other client while a script runs."""

_KEY_PARTS = ("meta", "events", "ids", "latest", "order", "owned", "parts", "leases")

_WILL_ID = b"-"
_encode_change = msgpack.Encoder().encode


def append_arguments(events: Sequence[Event]) -> list[Argument]:
    """Return the arguments of an append of one channel's events."""
    arguments: list[Argument] = []
    for event in events:
        arguments += (event.id, event.key or "", len(event.body), *halves(event))
        arguments.append(b"" if event.write is None else _pack_change(event, event.write))
    return arguments


def by_channel(items: Sequence[Event | Lease]) -> dict[str, list[int]]:
    """Return the indexes of each channel's items."""
    indexes: dict[str, list[int]] = {}
    for index, item in enumerate(items):
        indexes.setdefault(item.channel, []).append(index)
    return indexes


@lru_cache(maxsize=65_536)
def channel_keys(prefix: str, channel: str) -> tuple[str, ...]:
    """Return the keys of a channel, in the order of the script's `KEYS`."""
    # The braces are a hash tag: a Cluster puts all keys of a channel into one slot.
    return tuple(f"{prefix}:{{{channel}}}:{part}" for part in _KEY_PARTS)


def chunks_of(events: Sequence[Event], indexes: Sequence[int]) -> Iterator[Sequence[int]]:
    """Divide one channel's part of a batch into chunks of at most `CALL_BYTES`."""
    start = size = 0
    for end, index in enumerate(indexes):
        length = len(events[index].body)
        if size + length > CALL_BYTES and end > start:
            yield indexes[start:end]
            start, size = end, 0
        size += length
    yield indexes[start:]


def receipts_of(events: Sequence[Event], answer: Sequence[Any]) -> list[Receipt]:
    """Return the receipts of an append."""
    # The epoch; then per event its offset, 1 for a duplicate or the reason of a refusal, the note.
    epoch = answer[0].decode()
    receipts = []
    for number, event in zip(range(1, len(answer), 3), events, strict=True):
        offset, outcome, noted = answer[number : number + 3]
        if offset:
            position = Position(epoch, offset, event.id)
            duplicate = bool(outcome)
            receipts.append(
                Receipt(id=event.id, position=position, duplicate=duplicate, noted=noted)
            )
        else:
            receipts.append(Receipt(id=event.id, refused=outcome.decode(), noted=noted))
    return receipts


def renewals_of(answer: Sequence[Any]) -> list[Renewal]:
    """Return the results of a renewal."""
    return [
        Renewal(refused.decode() or None, noted)
        for refused, noted in zip(answer[::2], answer[1::2], strict=True)
    ]


def position_of(answer: Sequence[Any]) -> Position:
    """Return the position of an epoch, an offset and an id."""
    epoch, offset, event_id = answer
    label = event_id.decode(errors="replace")
    return Position(epoch.decode(), offset, label if is_label(label) else None)


def _pack_change(event: Event, write: KeyWrite) -> bytes:
    """Return the change of an owned key; Lua's reader of MessagePack knows no bytes, only text."""
    if write.will is None:
        return _pack_without_will(write)
    head, tail = halves(_will_event(event, write, write.will))
    # The log gives the id: it ends with the offset.
    head = head.removesuffix(b'"%b"' % _WILL_ID) + b'"'
    will = [head.decode(), tail.decode(), len(write.will.body)]
    return _encode_change(_fields_of(write) | {"will": will})


@lru_cache(maxsize=1024)
def _pack_without_will(write: KeyWrite) -> bytes:
    return _encode_change(_fields_of(write))


def _fields_of(write: KeyWrite) -> dict[str, Any]:
    names = ("fold", "attempt", "take", "lease")
    return {name: value for name in names if (value := getattr(write, name)) is not None}


def _will_event(event: Event, write: KeyWrite, will: Will) -> Event:
    return Event.from_trusted(
        event.channel,
        will.event,
        will.body,
        id=_WILL_ID.decode(),
        key=event.key,
        source=None,
        time=None,
        position=None,
        write=KeyWrite("lapse", write.attempt),
    )
