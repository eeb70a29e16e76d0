"""Outlet: a URL, and the events that it gets."""

import hashlib
from collections.abc import Iterable, Sequence
from typing import Literal, get_args
from urllib.parse import SplitResult, urlsplit

from msgspec import Struct

from realtime_bridge.errors import ConfigurationError
from realtime_bridge.model.event import Event
from realtime_bridge.model.urls import is_well_formed, redact
from realtime_bridge.model.webhook_secrets import signing_keys
from realtime_bridge.settings import Settings

When = Literal["always", "unwatched"]
"""Events that an outlet gets: all of its names, or those of channels that no client watches."""


class Outlet(Struct, frozen=True):
    """URL that gets events by webhooks.

    Args:
        url: the URL; its path and query may be secret.
        events: names of the events; None: all.
        when: `always`, or `unwatched`: events of channels that no client watches.
        kind: name of the outlets that a part of the server has beside the application's.

    """

    url: str
    events: frozenset[str] | None = None
    when: When = "always"
    kind: str = ""

    @classmethod
    def create(
        cls,
        url: str,
        events: Iterable[str] | None,
        when: When,
        *,
        private: bool,
        kind: str = "",
    ) -> "Outlet":
        """Return an outlet after a check of its URL.

        Raises:
            ConfigurationError: the URL is not of `https`, has a password, `events` is a text, or
                `when` is another word.

        """
        schemes = ("https", "http") if private else ("https",)
        parts = urlsplit(url) if is_well_formed(url) else None
        if parts is None or parts.scheme not in schemes or not _is_one_host(parts):
            hint = "" if private else "; for a trial on this machine set REALTIME_OUTLET_PRIVATE=on"
            raise ConfigurationError(
                f"Events cannot be delivered to {_shown(url)}: use an https URL{hint}"
            )
        if "@" in parts.netloc:
            raise ConfigurationError(
                f"The outlet {_shown(url)} has a password in its URL: omit it, since "
                "REALTIME_OUTLET_SECRET signs each request"
            )
        if isinstance(events, str):
            raise ConfigurationError(f"The events of an outlet are a list: write [{events!r}]")
        if when not in get_args(When):
            raise ConfigurationError(f"Bad when {when!r} of an outlet: use always or unwatched")
        return cls(url, None if events is None else frozenset(events), when, kind)

    @property
    def id(self) -> str:
        """Id of the outlet in the log: it stays, while the URL does."""
        return hashlib.sha256((self.kind + self.url).encode()).hexdigest()[:16]

    @property
    def host(self) -> str:
        """Scheme, host and port, for log lines."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc}"

    def takes(self, event: Event) -> bool:
        """Return whether the outlet gets an event."""
        return self.events is None or event.event in self.events


def _shown(url: str) -> str:
    """Return a URL without its path, which may be secret."""
    return redact(urlsplit(url)._replace(path="").geturl() if is_well_formed(url) else url)


def _is_one_host(parts: SplitResult) -> bool:
    """Return whether requests can go to the host and the port; databases' URLs have several."""
    try:
        (parts.hostname or "").encode("idna")  # as the search for its address does
        return bool(parts.hostname) and parts.port != 0 and "," not in parts.netloc
    except ValueError:
        return False


def outlet_keys(settings: Settings) -> Sequence[bytes]:
    """Return the keys that sign webhooks.

    Raises:
        ConfigurationError: there is none.

    """
    if settings.outlet_secret is None:
        raise ConfigurationError(
            "REALTIME_OUTLET_SECRET is not set, which signs what outlets deliver: make one with "
            'echo "whsec_$(openssl rand -base64 32)", and give it to the receivers'
        )
    return signing_keys(settings.outlet_secret)
