"""A short line in front of places that are taken."""

import threading
from contextlib import suppress

import pytest

from opendify.errors import ClientLeft, GatewayError, RateLimited
from opendify.records import NOBODY, Client
from opendify.waiting import WaitingLine
from tests.fakes.waiting import wait_until

FULL = RateLimited("full")


class Places:
    """Some places, and threads that ask for one; `got` names who has one, in the order of getting it."""

    def __init__(self, free: int = 0, *, length: int = 4, seconds: float = 20.0) -> None:
        self.free = free
        self.got: list[str] = []
        self.line = WaitingLine(length=length, seconds=seconds)
        self._lock = threading.Lock()

    def take(self) -> bool | None:
        with self._lock:
            if not self.free:
                return None
            self.free -= 1
            return True

    def give(self) -> None:
        with self._lock:
            self.free += 1

    def get(self, client: Client = NOBODY) -> bool:
        return self.line.get(self.take, client, FULL)

    def send(self, name: str, client: Client = NOBODY) -> threading.Thread:
        """Somebody who comes and waits; returns when they stand in the line."""
        before = len(self.line)

        def come() -> None:
            with suppress(GatewayError):
                self.get(client)
                self.got.append(name)

        thread = threading.Thread(target=come)
        thread.start()
        assert wait_until(lambda: len(self.line) == before + 1)
        return thread


def test_who_finds_a_free_place_does_not_wait() -> None:
    places = Places(free=1, length=0, seconds=0)

    assert places.get()


@pytest.mark.parametrize(("length", "seconds"), [(0, 20.0), (4, 0.0), (4, 0.1)])
def test_who_gets_none_in_time_is_refused(length: int, seconds: float) -> None:
    places = Places(length=length, seconds=seconds)

    with pytest.raises(RateLimited):
        places.get()

    assert len(places.line) == 0


def test_places_are_given_in_the_order_of_coming() -> None:
    places = Places()
    threads = [places.send(name) for name in "abc"]

    for number in (1, 2, 3):
        places.give()
        assert wait_until(lambda number=number: len(places.got) == number)  # type: ignore[misc]

    assert places.got == ["a", "b", "c"]
    for thread in threads:
        thread.join()


def test_nobody_overtakes_those_who_wait() -> None:
    places = Places(length=1)
    first = places.send("first")
    with places._lock:  # A place is free, and the first has not seen it yet.
        places.free = 1
        with pytest.raises(RateLimited):
            places.get()
    first.join()

    assert places.got == ["first"]


def test_a_line_holds_no_more_than_its_length() -> None:
    places = Places(length=2)
    threads = [places.send("a"), places.send("b")]

    with pytest.raises(RateLimited):
        places.get()

    places.free = 2
    for thread in threads:
        thread.join()


def test_who_leaves_makes_room_at_once_and_takes_nothing() -> None:
    places = Places(length=1)
    gone = threading.Event()
    leaver = places.send("leaver", Client(gone.is_set))

    gone.set()

    assert wait_until(lambda: len(places.line) == 0)
    leaver.join()
    places.free = 1
    assert places.got == []
    with pytest.raises(ClientLeft):
        Places().get(Client(lambda: True))


def test_a_fault_while_looking_leaves_nobody_in_the_line() -> None:
    places = Places()

    def break_down() -> bool:
        raise KeyError

    with pytest.raises(KeyError):
        places.get(Client(break_down))

    assert len(places.line) == 0


def test_nobody_minds_a_nudge_where_nobody_waits() -> None:
    places = Places(free=1)

    places.line.nudge()

    assert places.get()
