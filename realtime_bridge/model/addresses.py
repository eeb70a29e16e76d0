"""Addresses of the public internet, and those that requests to strangers' URLs must not reach."""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

_PLATFORMS = (
    IPv4Network("168.63.129.16/32"),  # services of the machine's own platform in Azure
    IPv4Network("192.0.0.0/24"),  # metadata of Oracle, which Python counts as global
)

_WITH_IPV4 = (
    IPv6Network("::/96"),  # deprecated
    IPv6Network("::ffff:0:0:0/96"),  # translation without state (RFC 2765)
    IPv6Network("64:ff9b::/96"),  # NAT64 (RFC 6052)
)
"""Networks whose addresses end with one of IPv4."""

_ASSIGNED = IPv6Network("2000::/3")
"""The only part of IPv6 that is assigned to the internet (RFC 4291). Python counts more as global,
such as fec0::/10, which old networks use as private addresses."""


def is_public(text: str) -> bool:
    """Return whether an IP address is one of the public internet, so of no machine near this one.

    Raises:
        ValueError: the text is no IP address.

    """
    address = ip_address(text)
    if isinstance(address, IPv6Address) and (ipv4 := _ipv4_of(address)):
        address = ipv4
    if isinstance(address, IPv6Address) and address not in _ASSIGNED:
        return False
    # Python counts some groups of receivers (multicast) as global.
    is_reachable = address.is_global and not address.is_multicast
    return is_reachable and not any(address in network for network in _PLATFORMS)


def _ipv4_of(address: IPv6Address) -> IPv4Address | None:
    """Return the IPv4 address that a host or a router on the way makes of this one."""
    if address.ipv4_mapped or address.sixtofour:
        return address.ipv4_mapped or address.sixtofour
    if any(address in network for network in _WITH_IPV4):
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return None
