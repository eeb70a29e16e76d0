"""Messages in the payloads of notifications, which PostgreSQL limits to 8 000 bytes."""

from collections.abc import Sequence

PIECE = 1_900
"""Characters of one payload: each has four bytes at most."""


def split_message(message: str) -> Sequence[str]:
    """Return the payloads of a message, to be sent in this order in one transaction."""
    pieces = [message[start : start + PIECE] for start in range(0, len(message), PIECE)]
    # The numbers make the payloads differ: a transaction sends equal ones once.
    return [f"{number}/{len(pieces)}:{piece}" for number, piece in enumerate(pieces, 1)]


class MessageReader:
    """Messages that are read from payloads; those of one transaction follow one another."""

    def __init__(self) -> None:
        self._pieces: list[str] = []

    def read(self, payload: str) -> str | None:
        """Return the message that a payload completes; None while pieces are missing.

        Raises:
            ValueError: the payload is not one of `split_message`, or does not follow the last.

        """
        place, _, piece = payload.partition(":")
        number, _, count = place.partition("/")
        if number == "1":
            self._pieces.clear()  # a connection that was lost had the rest of the former message
        if int(number) != len(self._pieces) + 1:
            raise ValueError("a piece of the message is missing")
        self._pieces.append(piece)
        return "".join(self._pieces) if number == count else None
