"""Address of Redis: one server, a Sentinel's service, or a Cluster, with documented options."""

import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from msgspec import Struct

from realtime_bridge.errors import ConfigurationError
from realtime_bridge.model.known_secrets import add_secret
from realtime_bridge.model.urls import is_well_formed

PORT, SENTINEL_PORT = 6379, 26379

_FORMS = (
    "redis://HOST:6379/0, redis+cluster://HOST:PORT,HOST:PORT or "
    "redis+sentinel://HOST:PORT,HOST:PORT/SERVICE"
)
_TLS = {"redis": False, "rediss": True, "unix": False}
_KINDS = ("", "cluster", "sentinel")


class RedisAddress(Struct, frozen=True):
    """Parts of an address.

    Args:
        kind: "", "cluster" or "sentinel".
        hosts: hosts and ports of the server, of nodes or of sentinels.
        path: the socket of a `unix://` address.
        service: name of the master that the sentinels know.
        options: arguments of redis-py.
        sentinel_options: those for connections to sentinels.

    """

    kind: str
    hosts: list[tuple[str, int]]
    path: str
    service: str
    options: dict[str, Any]
    sentinel_options: dict[str, Any]


def parse_address(url: str) -> RedisAddress:
    """Return the parts of an address.

    Raises:
        ConfigurationError: the address has another form, or an option that is not documented. The
            message has no value of the address: it may be a password.

    """
    try:
        return _parse(url)
    except ValueError as error:
        problem = str(error)
    raise ConfigurationError(f"{url_variable()} {problem}")


def url_variable() -> str:
    """Return the variable that has the address, for messages."""
    from realtime_bridge_backends.redis.settings import RedisSettings

    return RedisSettings.variable("url")


def _parse(url: str) -> RedisAddress:
    scheme, _, kind = url.partition("://")[0].partition("+")
    is_socket = scheme == "unix"
    if "://" not in url or scheme not in _TLS or kind not in _KINDS or (is_socket and kind):
        raise ValueError(f"is not an address of Redis: write {_FORMS}")
    if not is_well_formed(url) or urlsplit(url).fragment:
        raise ValueError(
            "is malformed: write special characters of the password as codes (%23 for #, %2F for "
            "/, %40 for @), and ports as numbers"
        )
    parts = urlsplit(url)
    service, db = _service_and_database(kind, "" if is_socket else parts.path.strip("/"))
    options = _read_options(parts)
    sentinel_options = _split_options(options, kind, has_tls=_TLS[scheme])
    if db:
        options.setdefault("db", _convert("the database", int, db))
    if kind == "cluster" and options.pop("db", 0):
        raise ValueError("names a database, and a Cluster has only 0: leave it out")
    hosts = [] if is_socket else _hosts(parts, SENTINEL_PORT if kind == "sentinel" else PORT)
    if kind and not all(host for host, _ in hosts):
        raise ValueError(f"names no host: write {_FORMS}")
    if len(hosts) > 1 and not kind:
        raise ValueError(f"names several hosts: write {_FORMS}")
    options = {**_credentials(parts), **options}
    for secret in (options.get("password"), sentinel_options.get("password")):
        add_secret(secret)
    return RedisAddress(
        kind=kind,
        hosts=hosts,
        path=unquote(parts.path) if is_socket else "",
        service=service,
        options=options,
        sentinel_options=sentinel_options,
    )


def _service_and_database(kind: str, path: str) -> tuple[str, str]:
    if kind != "sentinel":
        return "", path
    service, _, db = path.partition("/")
    if not service:
        raise ValueError("names no service: add it after the sentinels, …/SERVICE")
    return unquote(service), db


def _split_options(options: dict[str, Any], kind: str, *, has_tls: bool) -> dict[str, Any]:
    """Remove the options for sentinels, and return them; those of TLS are for all connections."""
    own = {name: options.pop(name) for name in _SENTINEL_OPTIONS if name in options}
    if own and kind != "sentinel":
        raise ValueError("has an option for sentinels: write redis+sentinel://")
    tls = {name: value for name, value in options.items() if name.startswith("ssl_")}
    if tls and not has_tls:
        raise ValueError("has an option of TLS without TLS: write rediss:// in place of redis://")
    if has_tls:
        options["ssl"] = tls["ssl"] = True
    return {**tls, **{name.removeprefix("sentinel_"): value for name, value in own.items()}}


_SENTINEL_OPTIONS = ("sentinel_username", "sentinel_password")


def _read_options(parts: SplitResult) -> dict[str, Any]:
    options: dict[str, Any] = {}
    for name, value in parse_qsl(parts.query, keep_blank_values=True):
        if name not in OPTIONS:
            # Another text may be a part of a password.
            shown = name if re.fullmatch("[a-z_]{2,30}", name) else "…"
            raise ValueError(
                f"has the option {shown!r}, which is not supported: leave it out, or use one of "
                f"{', '.join(OPTIONS)}"
            )
        options[name] = _convert(f"the option {name}", OPTIONS[name], value)
    if options.get("ssl_cert_reqs") == "none":
        options.setdefault("ssl_check_hostname", False)
    return options


def _convert(name: str, convert: Callable[[str], Any], value: str) -> Any:
    try:
        return convert(value)
    except (ValueError, KeyError):
        expected = _EXPECTED.get(convert, "another value")
    raise ValueError(f"has a value for {name} that cannot work: write {expected}")


def _switch(value: str) -> bool:
    return {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}[
        value.lower()
    ]


def _certificate_check(value: str) -> str:
    # Celery writes CERT_REQUIRED.
    name = value.lower().removeprefix("cert_")
    if name not in ("none", "optional", "required"):
        raise ValueError(name)
    return name


_EXPECTED: Mapping[Callable[[str], Any], str] = {
    int: "a whole number",
    float: "a number of seconds",
    _switch: "true or false",
    _certificate_check: "none, optional or required",
}

OPTIONS: Mapping[str, Callable[[str], Any]] = {
    "db": int,
    "username": str,
    "password": str,
    "client_name": str,
    "health_check_interval": float,
    "socket_connect_timeout": float,
    "socket_keepalive": _switch,
    "socket_timeout": float,
    "ssl_ca_certs": str,
    "ssl_cert_reqs": _certificate_check,
    "ssl_certfile": str,
    "ssl_check_hostname": _switch,
    "ssl_keyfile": str,
    **dict.fromkeys(_SENTINEL_OPTIONS, str),
}
"""Options of a URL's query, and their types. redis-py's others change what this package relies on,
such as `protocol` and `decode_responses`."""


def _hosts(parts: SplitResult, port: int) -> list[tuple[str, int]]:
    hosts = []
    for text in parts.netloc.rpartition("@")[2].split(","):
        host = urlsplit(f"//{text}")
        number = _port(host)
        hosts.append((host.hostname or "", number or port))
    return hosts


def _port(host: SplitResult) -> int | None:
    try:
        return host.port
    except ValueError:
        pass
    raise ValueError("has a port that cannot exist: write one from 1 to 65535")


def _credentials(parts: SplitResult) -> dict[str, Any]:
    user, _, password = parts.netloc.rpartition("@")[0].partition(":")
    credentials = {"username": unquote(user), "password": unquote(password)}
    return {name: text for name, text in credentials.items() if text}
