"""What came first goes first, and nothing else does."""

from opendify.bounded import remember


def test_beyond_so_many_the_first_goes() -> None:
    entries: dict[str, int] = {}
    for number, name in enumerate("abcab"):
        assert remember(entries, name, number, most=2) == number

    assert entries == {"a": 3, "b": 4}
