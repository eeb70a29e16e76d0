"""CORSPolicy whose pages may connect."""

from collections.abc import Iterable
from urllib.parse import urlsplit

from realtime_bridge.model.urls import is_loopback


def origin_allowed(origin: str | None, host: str | None, allowed: Iterable[str]) -> bool:
    """Tell whether a page of `origin` may connect: one of the same host, or one listed.

    Programs send no origin; browsers always do where it matters.
    """
    if origin is None:
        return True
    if host and _host(origin) == host.lower():
        return True
    return origin in allowed


def from_here(origin: str | None) -> bool:
    """Tell whether a request is a program's, or a page's that came from this machine."""
    if origin is None:
        return True
    try:
        return is_loopback(urlsplit(origin).hostname or "")
    except ValueError:
        return False


def _host(origin: str) -> str | None:
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return None
