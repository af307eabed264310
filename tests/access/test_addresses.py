"""Who is at the other end, behind proxies that are believed and others that are not."""

import ipaddress

import pytest

from opendify.access.addresses import address_group, client_address, is_in, read_address

TRUSTED = tuple(ipaddress.ip_network(each) for each in ("10.0.0.0/8", "2001:db8::/32", "127.0.0.1/32"))


@pytest.mark.parametrize(
    ("peer", "forwarded", "found"),
    [
        ("192.0.2.1", "", "192.0.2.1"),
        ("192.0.2.1", "10.9.9.9", "192.0.2.1"),
        ("10.0.0.1", "192.0.2.1", "192.0.2.1"),
        ("10.0.0.1", "203.0.113.5, 192.0.2.1", "192.0.2.1"),
        ("10.0.0.1", "203.0.113.5, 192.0.2.1, 10.0.0.2", "192.0.2.1"),
        ("10.0.0.1", "10.0.0.3, 10.0.0.2", "10.0.0.3"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", "nonsense", "10.0.0.1"),
        ("10.0.0.1", "192.0.2.1, nonsense", "10.0.0.1"),
        ("10.0.0.1", "192.0.2.1:4711", "192.0.2.1"),
        ("10.0.0.1", "[2a02::1]:4711", "2a02::1"),
        ("::ffff:10.0.0.1", "::ffff:192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "10.0.0.9", "192.0.2.1"),
        ("2001:db8::1", "2a02::1", "2a02::1"),
        ("127.0.0.1", ",".join(["192.0.2.9"] * 5_000), "192.0.2.9"),
        ("", "192.0.2.1", None),
        ("unix:", "192.0.2.1", None),
    ],
)
def test_only_trusted_proxies_say_where_a_request_comes_from(
    peer: str, forwarded: str, found: str | None
) -> None:
    address = client_address(peer, forwarded, TRUSTED)

    assert (str(address) if address else None) == found


def test_without_trusted_proxies_the_header_says_nothing() -> None:
    assert str(client_address("127.0.0.1", "192.0.2.1", ())) == "127.0.0.1"


@pytest.mark.parametrize(
    ("address", "group"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2a02:1:2:3:4:5:6:7", "2a02:1:2:3::/64"),
        ("2a02:1:2:3::", "2a02:1:2:3::/64"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("fe80::1%eth0", "fe80::/64"),
        ("nobody", "unknown"),
    ],
)
def test_a_subscriber_is_one_group(address: str, group: str) -> None:
    assert address_group(read_address(address)) == group


def test_the_families_are_not_mixed() -> None:
    address = read_address("0.0.0.1")
    assert address
    assert not is_in(address, (ipaddress.ip_network("::/0"),))
