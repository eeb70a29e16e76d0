"""Properties of URLs: loopback hosts, and the form without secrets."""

import ipaddress
import re
from urllib.parse import urlsplit

HOST_PATTERN = r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_])?|\[[0-9A-Fa-f:.]+\]"
"""Name of a host, IPv4 address, or IPv6 address in brackets; without a port."""


def is_loopback(host: str) -> bool:
    """Return whether a host can only be reached from this machine."""
    # RFC 6761 §6.3 keeps this name for loopback; other names may resolve to anything.
    if host == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    # A socket for both versions shows IPv4's loopback as `::ffff:127.0.0.1`.
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback


_HOSTS = re.compile(
    r"(?:[A-Za-z0-9._-]*|\[[0-9A-Fa-f:.%]+\])(?::\d*)?"
    r"(?:,(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.%]+\])(?::\d*)?)*"
)


def is_well_formed(url: str) -> bool:
    """Return whether a URL has clear limits: no character of a password ends a part too early.

    Without codes, `#`, `?`, `/` and `[` in a password do, and its rest would become a host, a port
    or a path.
    """
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    hosts = parts.netloc.rpartition("@")[2]
    others = (parts.path, parts.query, parts.fragment)
    return bool(_HOSTS.fullmatch(hosts)) and not any("@" in part for part in others)


def redact(url: str) -> str:
    """Return a URL without credentials, query and fragment, for messages."""
    if not is_well_formed(url):
        return "an address with unclear parts"
    parts = urlsplit(url)
    # Not `hostname` and `port`: they fail on the several hosts of a Sentinel's or Cluster's URL.
    hosts = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{hosts}{parts.path}"
