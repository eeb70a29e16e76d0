"""Place of an event in its channel."""

import re
from collections.abc import Callable
from typing import Any, Self

from msgspec import Struct, to_builtins
from msgspec.structs import force_setattr

from realtime_bridge.model.names import MAX_LABEL, is_label

MAX_OFFSET = 2**53 - 1
"""Largest integer that a number of JavaScript represents exactly."""

_EPOCH = re.compile(r"[0-9a-z]{8}")
_POSITION = re.compile(r"([0-9a-z]{8}):(0|[1-9][0-9]{0,15})")


class Position(Struct, frozen=True, gc=False, eq=False, omit_defaults=True):
    """Place of an event in its channel: `offset` counts 1, 2, 3 … within `epoch`.

    `id` is the id of the event at this place. It shows a client that the log was rolled back and
    has grown past the client's offset; comparison ignores it.
    """

    epoch: str
    offset: int
    id: str | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.epoch, str) or not _EPOCH.fullmatch(self.epoch):
            raise ValueError("a position's epoch is 8 characters of 0-9 a-z")
        if type(self.offset) is not int or not 0 <= self.offset <= MAX_OFFSET:
            raise ValueError("a position's offset is an integer from 0 to 2^53 - 1")
        if self.id is not None and not is_label(self.id):
            raise ValueError(f"a position's id is a text of 1 to {MAX_LABEL} characters")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Position):
            return NotImplemented
        return self.offset == other.offset and self.epoch == other.epoch

    def __ne__(self, other: object) -> bool:
        return not self == other  # the `!=` of msgspec compares identities

    def __hash__(self) -> int:
        return hash((self.epoch, self.offset))

    def __str__(self) -> str:
        return f"{self.epoch}:{self.offset}"

    def next(self, event: str) -> "Position":
        """Return the following position, for the event of this id; a log is trusted: no checks."""
        position = _copy(self)
        force_setattr(position, "offset", self.offset + 1)
        force_setattr(position, "id", event)
        return position

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse the text form, `k3v9q2wz:124`.

        Raises:
            ValueError: the text has another form.

        """
        match = _POSITION.fullmatch(text)
        if not match:
            raise ValueError(f"Bad position {text[:80]!r}: write EPOCH:OFFSET, like k3v9q2wz:124")
        return cls(match[1], int(match[2]))

    def to_json(self) -> dict[str, Any]:
        """Return the wire form, as msgspec encodes it; it omits an `id` of None."""
        fields: dict[str, Any] = to_builtins(self)
        return fields

    @classmethod
    def from_json(cls, fields: Any) -> Self:
        """Parse the wire form.

        Raises:
            ValueError: `fields` is not an object of a valid `epoch`, `offset` and optional `id`.

        """
        if not isinstance(fields, dict):
            raise ValueError("a position is an object of epoch, offset and id")  # noqa: TRY004 -- one error for all bad wire input
        return cls(fields.get("epoch", ""), fields.get("offset", -1), fields.get("id"))


_copy: Callable[[Position], Position] = Struct.__copy__  # type: ignore[attr-defined]
