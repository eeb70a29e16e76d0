"""What an address says of where it leads, and how much of it may be shown."""

import ipaddress
from urllib.parse import urlsplit


def is_loopback(host: str) -> bool:
    """Tell whether `host` can only be reached from this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def redact(url: str) -> str:
    """Return `url` without credentials and query, fit for a message."""
    parts = urlsplit(url)
    # Not `hostname` and `port`: they fail on the several hosts of a Sentinel's or Cluster's URL.
    hosts = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{hosts}{parts.path}"
