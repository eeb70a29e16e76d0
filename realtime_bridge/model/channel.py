"""Names of channels, and patterns of names."""

import re
from functools import cache, lru_cache

from realtime_bridge.errors import ConfigurationError, InvalidEventError

ALPHABET = "A-Za-z0-9_=@,.;-"
"""Characters that every provider accepts in the name of a channel."""

MAX_CHANNEL = 128
"""Longest name of a channel, in characters."""

RESERVED = ("private-", "presence-")
"""Prefixes that a provider's backend adds to the name of a channel."""

CONTROL = "@realtime"
"""Channel on which servers announce revocations, and start of all names of such channels."""

PRESENCE = f"{CONTROL}.presence."
"""Start of the names of presence channels, which have the members of the channel after it."""

_NAME = re.compile(rf"(?!{'|'.join(RESERVED)})[{ALPHABET}]{{1,{MAX_CHANNEL}}}")
_LITERAL = re.compile(rf"[{ALPHABET}]*")
_HOLE = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")
_FILLING = f"([{ALPHABET.replace('.', '')}]+)"


def check_channel(name: str) -> str:
    """Return the name of a channel, if it is valid.

    Raises:
        InvalidEventError: the name is not 1 to 128 characters of `A-Za-z0-9_=@,.;-`, or starts
            with a provider's prefix, which that provider's backend adds itself.

    """
    if not isinstance(name, str):
        raise InvalidEventError(f"Bad channel name {str(name)[:140]!r}: use a text, like job.7")
    return check_channel_text(name)


# Publishers repeat few names: the cache saves the match and a Python call of each publish.
@lru_cache(maxsize=1024)
def check_channel_text(name: str) -> str:
    """Return `name` if it is a channel name; the caller knows that it is a text.

    Raises:
        InvalidEventError: as for `check_channel`.

    """
    if _NAME.fullmatch(name):
        return name
    shown = name[:140]
    for prefix in RESERVED:
        if name.startswith(prefix):
            raise InvalidEventError(
                f"Bad channel name {shown!r}: omit {prefix!r}, the provider's backend adds it"
            )
    if name.startswith("user-"):
        raise InvalidEventError(
            f"Bad channel name {shown!r}: write it as user_channel(id), in JavaScript as "
            "userChannel(id)"
        )
    raise InvalidEventError(
        f"Bad channel name {shown!r}: use 1 to {MAX_CHANNEL} characters of "
        "A-Z a-z 0-9 _ = @ , . ; -"
    )


def is_internal(name: str) -> bool:
    """Return whether servers and workers announce changes on a channel, which clients never get."""
    return name.startswith(CONTROL)


def presence_channel(channel: str) -> str:
    """Return the name of the channel that has the members of `channel`.

    Raises:
        InvalidEventError: the name is not valid, is internal, or has over 109 characters.

    """
    return check_channel(PRESENCE + check_event_channel(channel))


@lru_cache(maxsize=1024)
def check_event_channel(name: str) -> str:
    """Return the name of a channel, if an application may publish on it.

    Raises:
        InvalidEventError: as for `check_channel`, or the channel is internal.

    """
    if is_internal(check_channel(name)):
        raise InvalidEventError(
            f"Bad channel name {name!r}: servers announce their own changes on names that begin "
            f"with {CONTROL!r}; choose another name"
        )
    return name


class ChannelPattern:
    """Pattern such as `job.{job_id}`: a hole matches one or more characters other than a dot.

    Raises:
        ConfigurationError: a name could match in two ways (no dot between two holes, or two holes
            of one name), or the pattern has characters that no channel has.

    """

    def __init__(self, text: str) -> None:
        self.text = text
        self._literals = _HOLE.split(text)[::2]
        self.holes: tuple[str, ...] = tuple(_HOLE.findall(text))
        if not text or not all(_LITERAL.fullmatch(literal) for literal in self._literals):
            raise ConfigurationError(
                f"Bad channel pattern {text!r}: write it like 'job.{{job_id}}', "
                "with the characters A-Z a-z 0-9 _ = @ , . ; - and names in braces"
            )
        if not all("." in literal for literal in self._literals[1:-1]):
            raise ConfigurationError(
                f"Ambiguous channel pattern {text!r}: put a dot between two holes"
            )
        if len(set(self.holes)) < len(self.holes):
            raise ConfigurationError(
                f"Channel pattern {text!r} names a hole twice: give each its own name"
            )
        self._regex = re.compile(_FILLING.join(map(re.escape, self._literals)))

    def match(self, channel: str) -> dict[str, str] | None:
        """Return the text of each hole by its name; None for a channel of another pattern."""
        match = self._regex.fullmatch(channel)
        return dict(zip(self.holes, match.groups(), strict=True)) if match else None

    def overlaps(self, other: "ChannelPattern") -> bool:
        """Return whether a channel can match both patterns."""
        mine, theirs = self._symbols(), other._symbols()

        @cache
        def meet(i: int, j: int) -> bool:
            """Return whether a common rest follows symbol `i` of mine and `j` of theirs."""
            if i == len(mine) or j == len(theirs):
                return i == len(mine) and j == len(theirs)
            if not _compatible(mine[i], theirs[j]):
                return False
            after_mine = (i, i + 1) if mine[i] is None else (i + 1,)
            after_theirs = (j, j + 1) if theirs[j] is None else (j + 1,)
            return any(
                meet(next_i, next_j)
                for next_i in after_mine
                for next_j in after_theirs
                if (next_i, next_j) != (i, j)
            )

        return meet(0, 0)

    def _symbols(self) -> list[str | None]:
        """Return the pattern as characters, with None for each hole."""
        symbols: list[str | None] = list(self._literals[0])
        for literal in self._literals[1:]:
            symbols += [None, *literal]
        return symbols


def _compatible(one: str | None, other: str | None) -> bool:
    if one is None or other is None:
        return "." not in (one, other)
    return one == other
