"""Reversible mapping of Pusher's channel names to ours; no two names share a channel."""

from functools import lru_cache

from realtime_bridge.errors import InvalidEventError
from realtime_bridge.model.channel import (
    ALPHABET,
    MAX_CHANNEL,
    PRESENCE,
    check_channel,
    is_internal,
)

USER_CHANNEL = "#server-to-user-"
"""Start of the channel to which pusher-js subscribes for a user that has signed in."""

MEMBERS = "presence-"
"""Start of the names of channels whose subscribers are present."""

_PRIVATE, _ENCRYPTED = "private-", "private-encrypted-"

# The longer prefix comes first. A public channel has none at Pusher, so its start here keeps it
# apart from the private ones: a subscriber with the key alone must never receive from those.
_STARTS = {
    USER_CHANNEL: "server-to-user.",
    _ENCRYPTED: "encrypted.",
    MEMBERS: "presence.",
    "": "public.",
}
_RESERVED = tuple(_STARTS.values())


class ChannelNameError(ValueError):
    """Refusal of a channel's name, with the reason and one thing to do."""


def encode_name(channel: str) -> str:
    """Return Pusher's name of a channel."""
    for prefix, start in _STARTS.items():
        if channel.startswith(start):
            return prefix + channel.removeprefix(start)
    return _PRIVATE + channel


@lru_cache(maxsize=1024)
def decode_name(name: str) -> str:
    """Return the channel of Pusher's name.

    Raises:
        ChannelNameError: no channel has this name.

    """
    prefix = next(prefix for prefix in (*_STARTS, _PRIVATE) if _begins_with(name, prefix))
    rest = name.removeprefix(prefix)
    if prefix == _PRIVATE and rest.startswith(_RESERVED):
        start = next(start for start in _RESERVED if rest.startswith(start))
        raise ChannelNameError(
            f"Invalid channel name {name[:80]!r}: names after private- must not begin with {start}"
        )
    channel = rest if prefix == _PRIVATE else _STARTS[prefix] + rest
    # The members of a channel are on another one, with a longer name.
    longer = PRESENCE if prefix == MEMBERS else ""
    if not rest or is_internal(rest) or not (_is_channel(rest) and _is_channel(longer + channel)):
        longest = MAX_CHANNEL - len(longer + channel) + len(rest)
        raise ChannelNameError(
            f"Invalid channel name {name[:80]!r}: use 1 to {longest} characters of {ALPHABET} "
            f"after {prefix or 'the start'!r}, and no name that begins with @realtime"
        )
    return channel


def is_cache(name: str) -> bool:
    """Return whether a new subscriber gets the latest event of a channel with Pusher's name."""
    for prefix in (_ENCRYPTED, _PRIVATE, MEMBERS):
        name = name.removeprefix(prefix)
    return name.startswith("cache-")


def _begins_with(name: str, prefix: str) -> bool:
    # The empty prefix is that of names without any other.
    return name.startswith(prefix) if prefix else not name.startswith(_PRIVATE)


def _is_channel(name: str) -> bool:
    try:
        check_channel(name)
    except InvalidEventError:
        return False
    return True
