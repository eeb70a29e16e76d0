"""Result of one publish, and of the renewal of a lease."""

from typing import Literal

from msgspec import Struct

from realtime_bridge.model.key_write import Refusal
from realtime_bridge.model.position import Position


class Receipt(Struct, frozen=True, kw_only=True, gc=False):
    """Result of one published event.

    Args:
        id: idempotency key of the event.
        position: place in the channel; None in signal mode, or when a commit gives it later.
        duplicate: this `id` was published before; the position is that of the first publish.
        pushed: False when the log has the event but its push failed; recovery delivers it.
        refused: reason for which the log did not append the event; it has no position then.
        noted: offset of the newest note of the event's key; 0 if there is none.

    """

    id: str
    position: Position | None = None
    duplicate: bool = False
    pushed: bool = True
    refused: Refusal | None = None
    noted: int = 0


class Lease(Struct, frozen=True, gc=False):
    """Lease of a key, to be renewed by its owner."""

    channel: str
    key: str
    attempt: str


class Renewal(Struct, frozen=True, gc=False):
    """Result of the renewal of a lease.

    Args:
        refused: reason for which the lease was not renewed; `lapsed` after it ran out.
        noted: offset of the key's newest note; 0 if there is none.

    """

    refused: Refusal | Literal["lapsed"] | None = None
    noted: int = 0
