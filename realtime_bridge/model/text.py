"""Printable text, with the same characters in every version of Python and in PostgreSQL."""

import re

# `str.isprintable` depends on Python's version of Unicode, and PostgreSQL has no such function.
# Characters that no version has assigned yet are printable here: a later one may be an emoji.
UNPRINTABLE = (
    r"[\u0000-\u001f\u007f-\u00a0\u00ad\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u1680"
    r"\u180e\u2000-\u200f\u2028-\u202f\u205f-\u206f\u3000\ud800-\uf8ff\ufdd0-\ufdef\ufeff"
    r"\ufff9-\ufffb\ufffe\uffff\U000110bd\U000110cd\U00013430-\U0001343f\U0001bca0-\U0001bca3"
    r"\U0001d173-\U0001d17a\U000e0000-\U000e007f\U000f0000-\U0010ffff]"
)
"""Regular expression for controls, format characters, separators other than the space, halves of
surrogate pairs and characters of private use, in the syntax that Python and PostgreSQL share."""


def is_printable(text: str) -> bool:
    """Return whether a text has printable characters alone."""
    # `isprintable` rejects a few characters too many. Only for those the expression is compiled,
    # which takes 1 ms of a worker's cold start.
    return text.isprintable() or not re.search(UNPRINTABLE, text)
