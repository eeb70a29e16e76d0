"""Origins of web pages, as settings list them and as browsers send them."""

import re
from urllib.parse import urlsplit

from msgspec import Struct

DEFAULT_PORTS = {"http": 80, "https": 443}

_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*")
_LABEL = "[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?"
_LABELS = re.compile(rf"(?:{_LABEL}\.)*{_LABEL}\.?")
_FORM = "write each as scheme and host, without a path"


class Origin(Struct, frozen=True):
    """Scheme, host and port of a page; a host such as `*.example.com` stands for its subdomains."""

    scheme: str
    host: str
    port: int | None
    """Port; None where the scheme has no default port, and none is given."""

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        is_default = self.port == DEFAULT_PORTS.get(self.scheme)
        return f"{self.scheme}://{host}" + ("" if is_default else f":{self.port}")

    def includes(self, other: "Origin") -> bool:
        """Return whether a page of `other` has this origin."""
        if (self.scheme, self.port) != (other.scheme, other.port):
            return False
        if self.host.startswith("*."):
            return other.host.endswith(self.host[1:]) and other.host != self.host[1:]
        return self.host == other.host


def read_origin(text: str) -> Origin | None:
    """Return the origin that a browser sent; None for `null` and for text of another form."""
    try:
        origin = parse_origin(text)
    except ValueError:
        return None
    return None if "*" in origin.host else origin


def parse_origin(text: str) -> Origin:
    """Return the origin of a setting: lower case, an explicit port, and ASCII.

    Raises:
        ValueError: the text is no origin; the message names the right form.

    """
    if re.search("^\\[|[\"']", text):
        raise ValueError("write origins without brackets and quotes, separated by commas")
    if re.search(r"[;\s]", text):
        raise ValueError("separate origins by commas")
    if text == "*":
        raise ValueError(f"`*` would admit every page: {_FORM}")
    parts = urlsplit(text)
    if not _SCHEME.fullmatch(parts.scheme) or not parts.netloc:
        raise ValueError(f"an origin begins with https:// or http://: {_FORM}")
    if parts.path not in ("", "/") or parts.query or parts.fragment or "@" in parts.netloc:
        raise ValueError(f"an origin ends after its host and port: {_FORM}")
    port = parts.port or DEFAULT_PORTS.get(parts.scheme)  # a ValueError for a port out of range
    return Origin(parts.scheme, _check_host(parts.hostname or ""), port)


def normalize_origins(origins: tuple[str, ...]) -> tuple[str, ...]:
    """Return the origins of a setting as browsers send them.

    Raises:
        ValueError: a text is no origin; the message names the right form.

    """
    return tuple(str(parse_origin(origin)) for origin in origins)


def _check_host(host: str) -> str:
    if ":" in host:
        return host  # `urlsplit` has checked the IPv6 address
    wildcard, name = ("*.", host[2:]) if host.startswith("*.") else ("", host)
    try:
        name = name if name.isascii() else name.encode("idna").decode()
    except UnicodeError:
        name = ""
    if not _LABELS.fullmatch(name):
        raise ValueError(f"the host is not valid: {_FORM}")
    if wildcard and "." not in name.rstrip(".") and name != "localhost":
        raise ValueError(f"`*.{name}` would admit the pages of others: name the domain too")
    return wildcard + name
