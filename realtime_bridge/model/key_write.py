"""Change that an event makes to what a log keeps for its key."""

import re
from typing import Any, Literal, Self, get_args

from msgspec import Struct

from realtime_bridge.errors import InvalidEventError
from realtime_bridge.model.event_data import encode_data
from realtime_bridge.model.names import check_event_name

Fold = Literal["append", "end", "note", "lapse"]
"""Way in which an event changes its key: it adds items, ends the key, or leaves a note beside it.
The log alone makes a `lapse`, the end of a silent owner. Without a fold an event replaces."""

Take = Literal["always", "open", "absent"]
"""Condition under which an attempt becomes the owner of the key."""

Refusal = Literal["owned", "superseded", "gone", "ended", "full"]
"""Reason for which a log does not append an event."""

MAX_CONTENT_BYTES = 1024 * 1024
"""Most content of one key, in bytes of JSON."""

MIN_LEASE, MAX_LEASE = 5, 3_600
"""Bounds of a lease, in seconds."""

_ATTEMPT = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_TAKING = (None, "end")


class Will(Struct, frozen=True, gc=False):
    """Event that the log appends when the lease of a key's owner runs out.

    Args:
        event: name of the event.
        body: its data, as JSON.

    """

    event: str
    body: bytes


class KeyWrite(Struct, frozen=True, gc=False):
    """Change of a key with an owner; docs/specification.md §2.6 has the rules.

    Args:
        fold: way in which the event changes the key; None replaces.
        attempt: name of the run that owns the key, or takes it over.
        take: condition of a take-over; None for an event of the owner.
        lease: seconds of silence after which the log ends the key; 0 removes the lease.
        will: event of that end.

    """

    fold: Fold | None = None
    attempt: str | None = None
    take: Take | None = None
    lease: int | None = None
    will: Will | None = None

    @property
    def delivered(self) -> Self:
        """The fields that clients receive: fold and attempt."""
        if self.take is None and self.lease is None:
            return self
        return type(self)(self.fold, self.attempt)


def read_will(will: Any) -> Will | None:
    """Return the will that a publisher wrote as an object of `event` and `data`.

    Raises:
        InvalidEventError: it is another value.

    """
    if will is None or isinstance(will, Will):
        return will
    if not isinstance(will, dict) or not {"event"} <= will.keys() <= {"event", "data"}:
        raise InvalidEventError('Bad will: give an object {"event": …, "data": …}')
    return Will(check_event_name(will["event"]), encode_data(will.get("data")))


def check_key_write(
    *,
    key: str | None,
    body: bytes,
    fold: str | None,
    attempt: str | None,
    take: str | None = None,
    lease: int | None = None,
    will: Will | None = None,
    stored: bool,
) -> KeyWrite | None:
    """Return the change of a key that these fields describe; None if they are all None.

    Args:
        key: the event's key.
        body: the event's data, as JSON.
        fold: see `KeyWrite`, as the fields below.
        attempt: name of the run.
        take: condition of a take-over.
        lease: seconds, or 0.
        will: event of the end by the log, checked.
        stored: whether the event has a position: a log made it, so it can be a lapse.

    Raises:
        InvalidEventError: a field is not valid, or the fields do not belong together.

    """
    if all(field is None for field in (fold, attempt, take, lease, will)):
        return None
    if key is None:
        raise InvalidEventError("fold, attempt, take, lease and will need a key: give one")
    if fold is not None and (fold not in get_args(Fold) or (fold == "lapse" and not stored)):
        raise InvalidEventError(f"Bad fold {str(fold)[:80]!r}: use append, end or note")
    check_attempt(attempt)
    if attempt is None and (take is not None or fold in ("append", "end")):
        raise InvalidEventError(f"{'take' if take else fold} needs an attempt: give its name")
    if fold == "append" and not body.startswith(b"["):
        raise InvalidEventError("The data of an append is no list: publish a list of items")
    _check_take(fold, take)
    seconds = _check_lease(fold, attempt, take, lease)
    if bool(seconds) != (will is not None):
        raise InvalidEventError('A lease needs a will, {"event": …, "data": …}, and a will a lease')
    return KeyWrite(fold, attempt, take, seconds, will)  # type: ignore[arg-type]  # checked above


def check_attempt(attempt: object) -> None:
    """Check the name of an attempt; None names none.

    Raises:
        InvalidEventError: the value is no name.

    """
    is_name = isinstance(attempt, str) and _ATTEMPT.fullmatch(attempt)
    if attempt is not None and not is_name:
        raise InvalidEventError(
            f"Bad attempt {str(attempt)[:80]!r}: use 1 to 64 characters of A-Z a-z 0-9 _ . -"
        )


def _check_take(fold: str | None, take: str | None) -> None:
    if take is None:
        return
    if take not in get_args(Take):
        raise InvalidEventError(f"Bad take {str(take)[:80]!r}: use always, open or absent")
    if fold not in _TAKING:
        raise InvalidEventError(f"take does not go with fold {fold}: take over by a replace or end")


def _check_lease(
    fold: str | None, attempt: str | None, take: str | None, lease: object
) -> int | None:
    if lease is None:
        return None
    if lease == 0 and type(lease) is int and fold is None and attempt is not None:
        return 0
    if take is None or fold is not None:
        raise InvalidEventError("A lease goes with a replacing take alone: omit it elsewhere")
    if type(lease) is not int or not MIN_LEASE <= lease <= MAX_LEASE:
        raise InvalidEventError(
            f"Bad lease {str(lease)[:80]!r}: use {MIN_LEASE} to {MAX_LEASE:,} whole seconds"
        )
    return lease


def items_of(body: bytes) -> bytes:
    """Return the items of a compact JSON list, without the brackets."""
    return body[1:-1]
