"""Checks of a request's `Origin` header."""

from collections.abc import Iterable
from urllib.parse import urlsplit

from realtime_bridge.model.urls import is_loopback


def origin_allowed(origin: str | None, host: str | None, allowed: Iterable[str]) -> bool:
    """Return whether a page of `origin` may connect: same host, or a listed origin.

    Args:
        origin: the `Origin` header.
        host: the `Host` header.
        allowed: origins of other hosts that may connect.

    """
    # Programs send no Origin; browsers send it with each POST, upgrade and CORS request.
    if origin is None:
        return True
    # Schemes are not compared: behind a proxy that ends TLS this server sees http alone.
    if host and _host(origin) == host.lower():
        return True
    return origin in allowed


def from_here(origin: str | None) -> bool:
    """Return whether a request comes from a program or from a page of this machine."""
    if origin is None:
        return True
    try:
        return is_loopback(urlsplit(origin).hostname or "")
    except ValueError:
        return False


def _host(origin: str) -> str | None:
    # urlsplit raises ValueError for a malformed IPv6 address.
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return None
