"""Guard of a development server, which trusts all its clients."""

import logging
from collections.abc import Iterable, Iterator

from realtime_bridge.errors import ConfigurationError
from realtime_bridge.model.secret_list import split_secrets
from realtime_bridge.model.urls import is_loopback
from realtime_bridge.server.http.origins import split_host
from realtime_bridge.server.http.request import HTTPError, Request
from realtime_bridge.settings import DEVELOPMENT_SECRET, Settings

_logger = logging.getLogger("realtime_bridge.server")

_FORWARDED = (b"x-forwarded-for", b"x-real-ip")


class LocalGuard:
    """Guard that accepts requests of this machine, to a name of this machine.

    The peer's address keeps other machines out. The `Host` header keeps out pages of other sites
    whose names resolve to this machine (DNS rebinding). A proxy on this machine forwards the
    requests of other machines, so the addresses that it names count too.

    Args:
        hosts: further hosts in the `Host` header, and further addresses of clients.

    """

    def __init__(self, hosts: Iterable[str]) -> None:
        self._hosts = frozenset(host.lower() for host in hosts)

    def check(self, request: Request) -> None:
        """Check that a request comes from this machine.

        Raises:
            HTTPError: 403, it does not.

        """
        host, _ = split_host(request.headers.get("host"))
        for name, kind in ((host, "Host"), *((address, "client") for address in _clients(request))):
            if not (is_loopback(name) or name in self._hosts):
                raise HTTPError(
                    403,
                    "not_local",
                    f"This development server trusts this machine alone, and the {kind} is "
                    f"{name[:100]!r}: set REALTIME_SECRET in place of REALTIME_DEV, or name it in "
                    "REALTIME_DEV_HOSTS",
                )


def development_guard(settings: Settings) -> LocalGuard:
    """Return the guard of a development server, after a line in the log.

    Raises:
        ConfigurationError: a real secret is set, so this may be no development.

    """
    if settings.secret and split_secrets(settings.secret) != (DEVELOPMENT_SECRET,):
        raise ConfigurationError(
            "REALTIME_DEV (--dev) trusts every client of this machine, and REALTIME_SECRET is "
            "set, as on a server for others: remove one of the two"
        )
    _logger.warning(
        "DEVELOPMENT MODE: every client of this machine is trusted, with a well-known secret "
        "hosts=%s",
        ",".join(settings.dev_hosts) or "this machine",
    )
    return LocalGuard(settings.dev_hosts)


def _clients(request: Request) -> Iterator[str]:
    """Yield the addresses of a request's client, as far as they are known."""
    # None: a Unix socket, which this machine alone reaches.
    if client := request.scope.get("client"):
        yield str(client[0])
    # Each line of a header: some proxies, such as HAProxy, add one after that of the client.
    for name, text in request.scope["headers"]:
        if name.lower() in _FORWARDED:
            for address in text.decode("latin-1").split(","):
                if address.strip():
                    yield address.strip().strip("[]").lower()
    # No usual proxy of a development server sends this header, so its syntax is not read.
    if "forwarded" in request.headers:
        yield "Forwarded"
