"""Result of one publish."""

from msgspec import Struct

from realtime_bridge.model.position import Position


class Receipt(Struct, frozen=True, kw_only=True, gc=False):
    """What became of one published event.

    Args:
        id: the event's idempotency key.
        position: its place in the channel; None in signal mode, or when it is numbered later.
        duplicate: this `id` was published before, and that publish's position is returned.
        pushed: False when the log has it but the push failed; recovery delivers it.

    """

    id: str
    position: Position | None = None
    duplicate: bool = False
    pushed: bool = True
