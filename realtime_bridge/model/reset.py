"""Answer of a log that cannot continue from a position."""

from typing import Literal

from msgspec import Struct

from realtime_bridge.model.position import Position

ResetReason = Literal["epoch", "truncated", "ahead", "regressed", "forbidden", "signal"]


class Reset(Struct, frozen=True, kw_only=True, gc=False):
    """Gap after the requested position: load a snapshot, and continue from `top`."""

    reason: ResetReason
    top: Position
