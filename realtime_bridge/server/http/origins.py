"""Checks of a request's `Origin` header."""

import logging
from collections.abc import Iterable
from urllib.parse import urlsplit

from realtime_bridge.model.origins import DEFAULT_PORTS, Origin, parse_origin, read_origin
from realtime_bridge.model.urls import is_loopback
from realtime_bridge.server.http.request import HTTPError

MAX_LOGGED = 100
"""The most refused origins with a log line of their own: anybody can send any origin."""

_logger = logging.getLogger("realtime_bridge.server")


class Origins:
    """Origins whose pages may connect: those of the server's own host, and listed ones.

    Args:
        listed: origins such as `https://app.example` and `https://*.example.com`.
        dev: whether all pages of this machine may connect, such as those of Vite.

    """

    def __init__(self, listed: Iterable[str], *, dev: bool = False) -> None:
        self._listed = [parse_origin(text) for text in listed]
        self._dev = dev
        self._logged: set[str] = set()

    def lists(self, text: str | None) -> bool:
        """Return whether pages of another host may connect from this origin."""
        origin = read_origin(text or "")
        if origin is None:
            return False
        if self._dev and is_loopback(origin.host):
            return True
        return any(one.includes(origin) for one in self._listed)

    def allows(self, text: str, host: str | None) -> bool:
        """Return whether a page may connect.

        Args:
            text: the `Origin` header.
            host: the `Host` header.

        """
        origin = read_origin(text)
        return origin is not None and (_is_host(origin, host) or self.lists(text))

    def check(self, text: str, host: str | None) -> None:
        """Check that a page may connect; log the refusal of each origin once.

        Raises:
            HTTPError: 403, the page may not connect.

        """
        if not self.allows(text, host):
            raise self.refusal(text, host)

    def refusal(self, text: str, host: str | None) -> HTTPError:
        """Return the error of a page that may not connect, after its first log line."""
        text = text[:100]
        if text not in self._logged and len(self._logged) < MAX_LOGGED:
            self._logged.add(text)
            _logger.warning(
                "origin refused origin=%r host=%r: if these pages are yours, add the origin to "
                "REALTIME_ORIGINS",
                text,
                (host or "")[:100],
            )
        return HTTPError(
            403, "bad_origin", f"Pages of {text} may not connect: name it in REALTIME_ORIGINS"
        )


def is_own_origin(text: str, host: str | None) -> bool:
    """Return whether an `Origin` header names the host of the `Host` header."""
    origin = read_origin(text)
    return origin is not None and _is_host(origin, host)


def from_here(origin: str | None) -> bool:
    """Return whether a request comes from a program or from a page of this machine."""
    if origin is None:
        return True
    page = read_origin(origin)
    return page is not None and is_loopback(page.host)


def split_host(header: str | None) -> tuple[str, int | None]:
    """Return the host and port of a `Host` header; an empty host where it is malformed."""
    try:
        parts = urlsplit(f"//{header or ''}")
        host, port = parts.hostname, parts.port
    except ValueError:
        return "", None
    return host or "", port


def _is_host(origin: Origin, header: str | None) -> bool:
    """Return whether an origin is the host that the client connected to."""
    host, port = split_host(header)
    if not host or host != origin.host:
        return False
    # Schemes are not compared: behind a proxy that ends TLS this server sees http alone. So the
    # two default ports count as one, and as none.
    defaults = (None, *DEFAULT_PORTS.values())
    return port == origin.port or (port in defaults and origin.port in defaults)
