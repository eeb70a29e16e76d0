"""Address of a database: a URL or `name=value` pairs, as libpq parses them."""

import re
from collections.abc import Iterator, Mapping
from itertools import zip_longest

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from realtime_bridge.errors import ConfigurationError
from realtime_bridge.model.known_secrets import add_secret
from realtime_bridge.postgres.scheme import has_other_scheme
from realtime_bridge.postgres.url_variable import url_variable

_HOST = re.compile(r"[A-Za-z0-9._:%/-]*")
_PORT = re.compile(r"[0-9]*")

_OTHER_DRIVERS = {"ssl": "sslmode", "charset": "client_encoding"}
"""Options of other drivers, and libpq's names for them."""


def parse_address(text: str, *, source: str | None = None) -> str:
    """Return an address in libpq's form; SQLAlchemy's and Django's schemes are accepted.

    Args:
        text: the address.
        source: the variable or option that has it, for errors.

    Raises:
        ConfigurationError: it is no address of PostgreSQL. The message has no part of it.

    """
    problem = _problem(text)
    if problem:
        raise ConfigurationError(f"{source or url_variable()} {problem}")
    scheme, separator, rest = text.partition("://")
    address = make_conninfo(f"postgresql://{rest}" if separator else scheme)
    for name in ("password", "sslpassword"):
        add_secret(str(conninfo_to_dict(address).get(name) or ""))
    return address


def server_name(address: str) -> str:
    """Return the server's name for messages: hosts, ports and database, never another field."""
    try:
        fields = conninfo_to_dict(parse_address(address))
    except ConfigurationError:
        return "PostgreSQL"
    hosts = ",".join(_hosts(fields))
    name = f"{hosts}/{fields.get('dbname') or ''}".rstrip("/")
    return f"PostgreSQL at {name or 'its default address'}"


def _problem(text: str) -> str | None:
    """Return what is wrong with an address, without a part of it: it may hold a password."""
    _, separator, rest = text.partition("://")
    if has_other_scheme(text):
        return (
            "is not an address of PostgreSQL: write postgresql://USER:PASSWORD@HOST/DATABASE, "
            "or choose another log by REALTIME_LOG"
        )
    # libpq ends the password at the first of these, and would take its rest for other fields.
    if separator and "@" in rest.partition("/")[2]:
        return _SPECIAL
    try:
        fields = conninfo_to_dict(f"postgresql://{rest}" if separator else text)
    except psycopg.Error:
        foreign = [name for name in _OTHER_DRIVERS if re.search(rf"[?&]{name}=", text)]
        if foreign:
            return (
                f"has the option {foreign[0]!r} of another driver: write "
                f"{_OTHER_DRIVERS[foreign[0]]}, or leave it out"
            )
        return _SPECIAL
    ports = str(fields.get("port") or "").split(",")
    hosts = str(fields.get("host") or "").split(",")
    if not all(map(_PORT.fullmatch, ports)) or not all(map(_HOST.fullmatch, hosts)):
        return _SPECIAL
    return None


_SPECIAL = (
    "is malformed: write postgresql://USER:PASSWORD@HOST/DATABASE, with codes for special "
    "characters of the password (%40 for @, %2F for /), and no unknown option"
)


def _hosts(fields: Mapping[str, object]) -> Iterator[str]:
    hosts = str(fields.get("host") or fields.get("hostaddr") or "").split(",")
    ports = str(fields.get("port") or "").split(",")
    # libpq uses a single port for all hosts.
    ports = ports * len(hosts) if len(ports) == 1 else ports
    for host, port in zip_longest(hosts, ports, fillvalue=""):
        shown = f"[{host}]" if host.count(":") > 1 else host
        yield f"{shown}:{port}" if port else shown
