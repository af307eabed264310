"""Which addresses lie in the open internet."""

import ipaddress
import socket
import unicodedata
from typing import Final

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_CLOSED: Final = (
    # Azure's platform service, which answers every virtual machine there, has a public address.
    ipaddress.ip_network("168.63.129.16/32"),
    # Not all versions of Python know these.
    ipaddress.ip_network("192.0.0.0/24"),
    ipaddress.ip_network("64:ff9b:1::/48"),
)
_NAT64: Final = ipaddress.ip_network("64:ff9b::/96")
_PRIVATE_NAMES: Final = ("localhost", "local", "internal", "intranet", "lan", "home", "corp", "arpa")


def is_public(text: str) -> bool:
    """Whether `text` is an address of the open internet, whatever it is wrapped in."""
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return False
    return all(
        each.is_global and not each.is_multicast and not any(each in closed for closed in _CLOSED)
        for each in _unwrapped(address)
    )


def _unwrapped(address: Address) -> list[Address]:
    """What really is reached: an IPv6 address may carry one of IPv4."""
    if isinstance(address, ipaddress.IPv4Address):
        return [address]
    if address.ipv4_mapped:
        return [address.ipv4_mapped]
    if address in _NAT64:
        return [ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)]
    if address.teredo:
        return [address, *address.teredo]
    return [address, address.sixtofour] if address.sixtofour else [address]


def is_plainly_private(host: str) -> bool:
    """Whether `host`, as a URL bears it, can be told to be private without asking anybody."""
    # Whoever asks for a name folds its digits and letters first.
    name = unicodedata.normalize("NFKC", host).strip("[]").rstrip(".").lower()
    if ":" in name:
        return not is_public(name)
    try:
        # Also the forms that only resolvers know: `127.1`, `0x7f000001`, `2130706433`.
        return not is_public(socket.inet_ntoa(socket.inet_aton(name)))
    except (OSError, ValueError):
        return "." not in name or name.endswith(tuple(f".{suffix}" for suffix in _PRIVATE_NAMES))
