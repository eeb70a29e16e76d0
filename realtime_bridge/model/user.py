"""Ids of users, and the channel that belongs to each user."""

import re
from typing import TYPE_CHECKING, Any, Union

from realtime_bridge.errors import InvalidIdentityError
from realtime_bridge.model.channel import ALPHABET, MAX_CHANNEL
from realtime_bridge.model.text import is_printable

if TYPE_CHECKING:
    from uuid import UUID

UserId = Union[str, int, "UUID"]
"""Types of a user's id."""

MAX_USER = 256
"""Longest id of a user, in characters."""

USER_START = "user-"
"""Start of the name of each user's channel."""

# `=` is no separator of names, and begins the code of a byte as in quoted-printable text.
UNENCODED = ALPHABET.replace("=", "")
"""Characters of an id that its channel has unchanged."""

_ENCODED = re.compile(f"[^{UNENCODED}]")


def user_text(user: Any) -> str | None:
    """Return the id of a user as text; None if no user is signed in, as for every false value.

    Raises:
        InvalidIdentityError: the value is no text, whole number or UUID, or no printable text of
            up to 256 characters. The message has the type, never the value.

    """
    if isinstance(user, str):
        text = str.__str__(user)  # `str()` of a member of an Enum is its name
    elif isinstance(user, int) and not isinstance(user, bool):
        text = str(int(user)) if user else ""
    elif not user:
        return None
    elif _is_uuid(user):
        text = str(user)
    else:
        # `str()` of an object may hold a password's hash, and is another text in each process.
        raise InvalidIdentityError(
            f"A user's id is a {type(user).__name__}: give a text, a whole number or a UUID, "
            "such as the primary key"
        )
    if len(text) > MAX_USER or not is_printable(text):
        raise InvalidIdentityError(
            f"A user's id of {len(text):,} characters is not valid: "
            f"use up to {MAX_USER} printable characters"
        )
    return text or None


def user_channel(user: "UserId") -> str:
    """Return the channel of a user, which needs no rule: `user-42`, `user-auth0=7C1`.

    Each character that channels do not have is written as its UTF-8 bytes, each as `=` and two
    hex digits. `=` itself is written so too: two ids never have the same channel.

    Raises:
        InvalidIdentityError: the id is not valid, or its channel has over 128 characters.

    """
    text = user_text(user)
    if text is None:
        raise InvalidIdentityError("A channel of a user needs an id: give the id of a user")
    channel = own_channel(text)
    if channel is None:
        raise InvalidIdentityError(
            f"The channel of a user's id of {len(text)} characters has over {MAX_CHANNEL} "
            "characters: use a shorter id, such as a primary key or a hash"
        )
    return channel


def own_channel(text: str) -> str | None:
    """Return the channel of a user's id; None if the channel would be too long."""
    channel = USER_START + _ENCODED.sub(_encode, text)
    return channel if len(channel) <= MAX_CHANNEL else None


def _encode(character: re.Match[str]) -> str:
    return "".join(f"={byte:02X}" for byte in character[0].encode())


def _is_uuid(value: object) -> bool:
    from uuid import UUID  # 3 ms of a worker's cold start, which texts and numbers do not pay

    return isinstance(value, UUID)
