"""Where a request comes from, as far as that can be believed."""

import ipaddress
from collections.abc import Sequence
from typing import Final

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_IPV6_GROUP: Final = 64
_MOST_HOPS: Final = 32


def read_address(text: str) -> Address | None:
    """An address, without a port or brackets; an IPv4 one in IPv6's clothes is taken out of them."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def client_address(peer: str, forwarded_for: str, trusted: Sequence[Network]) -> Address | None:
    """Who is at the other end of the connection, or of the trusted proxies in between.

    `X-Forwarded-For` is read from its end, where the nearest proxy wrote, and only as far
    as trusted proxies wrote it: everything before is what a stranger says of himself.
    """
    address = read_address(peer)
    for hop in reversed(forwarded_for.split(",")[-_MOST_HOPS:]):
        if address is None or not is_in(address, trusted):
            return address
        before = read_address(hop)
        if before is None:
            return address
        address = before
    return address


def is_in(address: Address, networks: Sequence[Network]) -> bool:
    """Whether one of the networks holds the address."""
    return any(address.version == network.version and address in network for network in networks)


def address_group(address: Address | None) -> str:
    """Who is counted as one: an IPv4 address, or the 64 bits that one IPv6 subscriber gets."""
    if address is None:
        return "unknown"
    if isinstance(address, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((address, _IPV6_GROUP), strict=False))
    return str(address)
