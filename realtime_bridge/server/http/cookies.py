"""Lenient parser of the `Cookie` header."""

import re
from collections.abc import Iterable

_ESCAPE = re.compile(r"\\(?:([0-3][0-7][0-7])|(.))")


def read_cookies(headers: Iterable[str]) -> dict[str, str]:
    """Return the cookies of all `Cookie` headers by name; the last of two equal names wins.

    The rule is Starlette's and Django's. `http.cookies.SimpleCookie` drops everything after a
    cookie that it rejects, and other applications of the domain set such cookies.
    """
    cookies: dict[str, str] = {}
    for header in headers:
        for part in header.split(";"):
            name, separator, value = part.partition("=")
            # A part without `=` is a value without a name, as browsers have it.
            name, value = (name.strip(), value.strip()) if separator else ("", part.strip())
            if name or value:
                cookies[name] = _unquote(value)
    return cookies


def _unquote(value: str) -> str:
    """Return a quoted value without its quotes and escapes, in time linear in its length."""
    # `http.cookies` of Python 3.11.9, 3.12.5 and older takes quadratic time (CVE-2024-7592).
    if len(value) < 2 or not (value[0] == value[-1] == '"'):  # noqa: PLR2004 -- two quotes
        return value
    return _ESCAPE.sub(_unescape, value[1:-1])


def _unescape(match: re.Match[str]) -> str:
    octal, character = match.groups()
    return chr(int(octal, 8)) if octal else character
