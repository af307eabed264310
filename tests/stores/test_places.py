"""Places that several machines share, and what becomes of those of a machine that dies."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

from opendify.access.leases import LEASE_SECONDS, LeasedPlaces
from opendify.stores.opening import open_place_store
from opendify.stores.places import PlaceStore
from tests.fakes.clocks import FakeClock
from tests.fakes.waiting import wait_until
from tests.stores.conftest import emptied_url
from tests.stores.servers import Server

NOW = 1_700_000_000.0
UNTIL = NOW + 30


@pytest.fixture(params=["redis", "postgresql"])
def store(request: pytest.FixtureRequest, servers: dict[str, Server]) -> Iterator[PlaceStore]:
    opened = open_place_store(emptied_url(request.param, servers))
    assert opened
    with closing(opened):
        yield opened


def test_so_many_places_are_taken_at_once(store: PlaceStore) -> None:
    assert store.take("a", "1", most=2, now=NOW, until=UNTIL)
    assert store.take("a", "2", most=2, now=NOW, until=UNTIL)
    assert not store.take("a", "3", most=2, now=NOW, until=UNTIL)
    assert store.take("b", "3", most=2, now=NOW, until=UNTIL)

    store.give_back("a", "1")
    store.give_back("a", "1")
    assert store.take("a", "3", most=2, now=NOW, until=UNTIL)
    assert not store.take("a", "4", most=2, now=NOW, until=UNTIL)


def test_a_place_that_nobody_renews_is_free_in_time(store: PlaceStore) -> None:
    store.take("a", "1", most=1, now=NOW, until=UNTIL)
    assert not store.take("a", "2", most=1, now=UNTIL - 1, until=UNTIL + 30)
    store.renew("a", "1", until=UNTIL + 30)
    assert not store.take("a", "2", most=1, now=UNTIL, until=UNTIL + 30)
    assert store.take("a", "2", most=1, now=UNTIL + 30, until=UNTIL + 60)


def test_of_many_who_come_at_once_so_many_are_let_in(store: PlaceStore) -> None:
    with ThreadPoolExecutor(8) as threads:
        taken = threads.map(
            lambda number: store.take("a", str(number), most=7, now=NOW, until=UNTIL), range(60)
        )
        assert sum(taken) == 7


def test_a_request_that_goes_on_keeps_its_place(store: PlaceStore) -> None:
    now = FakeClock(NOW)
    places = LeasedPlaces(store, now=now, renewal_seconds=0.01)
    give_back = places.take("a", 1)
    assert give_back
    now.advance(LEASE_SECONDS - 1)

    # Renewed from now on, whatever is tried meanwhile.
    def is_renewed() -> bool:
        return not store.take("a", "x", most=1, now=NOW + LEASE_SECONDS + 5, until=UNTIL)

    assert wait_until(is_renewed, 10)
    give_back()
    again = places.take("a", 1)
    assert again
    again()


def test_a_machine_by_itself_needs_no_store() -> None:
    assert open_place_store("sqlite:///data/limits.db") is None
