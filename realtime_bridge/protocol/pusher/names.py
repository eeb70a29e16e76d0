"""Reversible mapping of Pusher's channel names to ours; no two names share a channel."""

from functools import lru_cache

from realtime_bridge.errors import InvalidEventError
from realtime_bridge.model.channel import ALPHABET, MAX_CHANNEL, check_channel, is_internal

USER_CHANNEL = "#server-to-user-"
"""Start of the channel to which pusher-js subscribes for a user that has signed in."""

PRESENCE = "presence-"

_PRIVATE, _ENCRYPTED = "private-", "private-encrypted-"

# The longer prefix comes first. A public channel has none at Pusher, so its start here keeps it
# apart from the private ones: a subscriber with the key alone must never receive from those.
_STARTS = {
    USER_CHANNEL: "server-to-user.",
    _ENCRYPTED: "encrypted.",
    PRESENCE: "presence.",
    "": "public.",
}
_RESERVED = tuple(_STARTS.values())

_BAD_REQUEST, _NOT_IMPLEMENTED = 400, 501


class ChannelNameError(ValueError):
    """Refusal of a channel's name, with the reason.

    Args:
        status: the HTTP status that fits: 400, or 501 for a kind of channel that is not served.
        message: the reason, and one thing to do.

    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


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
        ChannelNameError: no channel has this name, or presence is asked for.

    """
    prefix = next(prefix for prefix in (*_STARTS, _PRIVATE) if _begins_with(name, prefix))
    rest = name.removeprefix(prefix)
    if prefix == PRESENCE:
        raise ChannelNameError(
            _NOT_IMPLEMENTED, "Presence channels are not served: use a private channel"
        )
    if prefix == _PRIVATE and rest.startswith(_RESERVED):
        start = next(start for start in _RESERVED if rest.startswith(start))
        raise ChannelNameError(
            _BAD_REQUEST,
            f"Invalid channel name {name[:80]!r}: names after private- must not begin with {start}",
        )
    channel = rest if prefix == _PRIVATE else _STARTS[prefix] + rest
    if not rest or is_internal(rest) or not _is_channel(rest) or not _is_channel(channel):
        longest = MAX_CHANNEL - len(channel) + len(rest)
        raise ChannelNameError(
            _BAD_REQUEST,
            f"Invalid channel name {name[:80]!r}: use 1 to {longest} characters of {ALPHABET} "
            f"after {prefix or 'the start'!r}, and no name that begins with @realtime",
        )
    return channel


def is_cache(name: str) -> bool:
    """Return whether a new subscriber gets the latest event of a channel with Pusher's name."""
    for prefix in (_ENCRYPTED, _PRIVATE, PRESENCE):
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
