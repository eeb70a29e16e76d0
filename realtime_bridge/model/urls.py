"""Properties of URLs: loopback hosts, and the form without secrets."""

import ipaddress
from urllib.parse import urlsplit

HOST_PATTERN = r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_])?|\[[0-9A-Fa-f:.]+\]"
"""Name of a host, IPv4 address, or IPv6 address in brackets; without a port."""


def is_loopback(host: str) -> bool:
    """Return whether a host can only be reached from this machine."""
    # RFC 6761 §6.3 keeps this name for loopback; other names may resolve to anything.
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def redact(url: str) -> str:
    """Return a URL without credentials, query and fragment, for messages."""
    parts = urlsplit(url)
    # Not `hostname` and `port`: they fail on the several hosts of a Sentinel's or Cluster's URL.
    hosts = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{hosts}{parts.path}"
