"""When files are counted, and what is taken from a limit meanwhile."""

import pytest

from opendify.files.counted_room import CountedRoom
from opendify.files.drafts import NoRoom


class Stand:
    """Room whose files another process may add to; `counts` says how often they were counted."""

    def __init__(self) -> None:
        self.clock = 0.0
        self.listed = 0
        self.counts = 0
        self.room = CountedRoom(self._count, lambda: self.clock)

    def take(self, size: int) -> None:
        with self.room.taken(size, most_bytes=100, now=0):
            self.listed += size

    def _count(self, _now: float) -> int:
        self.counts += 1
        return self.listed


def test_it_counts_once_a_minute() -> None:
    stand = Stand()
    for seconds in (0, 30, 59, 60, 119):
        stand.clock = seconds
        stand.take(1)

    assert stand.counts == 2


def test_it_counts_anew_before_it_refuses() -> None:
    stand = Stand()
    stand.take(60)
    stand.listed = 0

    stand.take(60)

    assert stand.counts == 2
    with pytest.raises(NoRoom, match="60 of 100 bytes"):
        stand.take(60)
    assert stand.counts == 3


def test_what_is_on_its_way_takes_room() -> None:
    room = Stand().room
    with room.taken(60, most_bytes=100, now=0):
        with pytest.raises(NoRoom), room.taken(60, most_bytes=100, now=0):
            pytest.fail("there is no room")
        with room.taken(40, most_bytes=100, now=0):
            pass


def test_what_failed_takes_none() -> None:
    stand = Stand()
    with pytest.raises(OSError, match="lost"), stand.room.taken(60, most_bytes=100, now=0):
        raise OSError("lost")

    stand.take(100)
    assert stand.counts == 1
