"""The names of channels, and the patterns that stand for many of them."""

import re
from functools import cache, lru_cache

from realtime_bridge.errors import ConfigurationError, InvalidEventError

ALPHABET = "A-Za-z0-9_=@,.;-"
"""The characters every provider takes (Pusher's channel alphabet, the narrowest of them)."""

_RESERVED = ("private-", "presence-")
_NAME = re.compile(rf"(?!{'|'.join(_RESERVED)})[{ALPHABET}]{{1,128}}")
_LITERAL = re.compile(rf"[{ALPHABET}]*")
_HOLE = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")
_FILLING = f"([{ALPHABET.replace('.', '')}]+)"


def check_channel(name: str) -> str:
    """Return `name` if it is a channel's name.

    Raises:
        InvalidEventError: it is not 1 to 128 characters of `A-Za-z0-9_=@,.;-`, or it starts with
            a provider's prefix, which that provider's backend adds by itself.

    """
    if not isinstance(name, str):
        raise InvalidEventError(f"Bad channel name {str(name)[:140]!r}: it is a text, like job.7")
    return _checked(name)


@lru_cache(maxsize=1024)
def _checked(name: str) -> str:
    if _NAME.fullmatch(name):
        return name
    shown = name[:140]
    for prefix in _RESERVED:
        if name.startswith(prefix):
            raise InvalidEventError(
                f"Bad channel name {shown!r}: leave out {prefix!r}, the provider's backend adds it"
            )
    raise InvalidEventError(
        f"Bad channel name {shown!r}: use 1 to 128 characters of A-Z a-z 0-9 _ = @ , . ; -"
    )


class ChannelPattern:
    """A pattern such as `job.{job_id}`: a hole takes one or more characters, but no dot.

    Raises:
        ConfigurationError: a name could be read in two ways (no dot between two holes, or a hole
            named twice), or the pattern has characters that no channel has.

    """

    def __init__(self, text: str) -> None:
        self.text = text
        self._literals = _HOLE.split(text)[::2]
        self.holes = tuple(_HOLE.findall(text))
        if not text or not all(_LITERAL.fullmatch(literal) for literal in self._literals):
            raise ConfigurationError(
                f"Bad channel pattern {text!r}: write it like 'job.{{job_id}}', "
                "with the characters A-Z a-z 0-9 _ = @ , . ; - and names in braces"
            )
        if not all("." in between for between in self._literals[1:-1]):
            raise ConfigurationError(
                f"Ambiguous channel pattern {text!r}: put a dot between two holes"
            )
        if len(set(self.holes)) < len(self.holes):
            raise ConfigurationError(f"Channel pattern {text!r} names one hole twice")
        self._regex = re.compile(_FILLING.join(map(re.escape, self._literals)))

    def match(self, channel: str) -> dict[str, str] | None:
        """Return what fills the holes, or None when `channel` is not of this pattern."""
        found = self._regex.fullmatch(channel)
        return dict(zip(self.holes, found.groups(), strict=True)) if found else None

    def overlaps(self, other: "ChannelPattern") -> bool:
        """Tell whether any channel is of both patterns."""
        mine, theirs = self._symbols(), other._symbols()

        @cache
        def meet(i: int, j: int) -> bool:
            """Tell whether a common name continues from symbol `i` of mine and `j` of theirs."""
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
        """Spell the pattern, one character a symbol, None for a hole."""
        symbols: list[str | None] = list(self._literals[0])
        for literal in self._literals[1:]:
            symbols += [None, *literal]
        return symbols


def _compatible(one: str | None, other: str | None) -> bool:
    if one is None or other is None:
        return "." not in (one, other)
    return one == other
