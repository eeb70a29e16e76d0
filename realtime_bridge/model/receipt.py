"""Result of one publish."""

from msgspec import Struct

from realtime_bridge.model.position import Position


class Receipt(Struct, frozen=True, kw_only=True, gc=False):
    """Result of one published event.

    Args:
        id: idempotency key of the event.
        position: place in the channel; None in signal mode, or when a commit gives it later.
        duplicate: this `id` was published before; the position is that of the first publish.
        pushed: False when the log has the event but its push failed; recovery delivers it.

    """

    id: str
    position: Position | None = None
    duplicate: bool = False
    pushed: bool = True
