"""What a store of windows counts, whichever back end it has."""

import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from opendify.stores.opening import open_window_store
from opendify.stores.windows import UNLIMITED, Amount, Window, WindowStore
from tests.fakes.memory_keys import MemoryWindows
from tests.stores.conftest import SHARED, emptied_url
from tests.stores.servers import Server

NOW = 1_700_000_000.25
ONE = Amount(1, 0)


@pytest.fixture(params=(*SHARED, "memory"))
def store(
    request: pytest.FixtureRequest, servers: dict[str, Server], tmp_path: Path
) -> Iterator[WindowStore]:
    if request.param == "memory":
        yield MemoryWindows()
        return
    url = emptied_url(request.param, servers).replace("conversations.db", "limits.db")
    with closing(open_window_store(url, tmp_path / "data")) as opened:
        yield opened


def test_a_minute_begins_with_the_first_request_and_takes_so_many(store: WindowStore) -> None:
    most = Amount(2, UNLIMITED)

    assert store.count("a", ONE, most, now=NOW) == Window(True, Amount(1, 0), NOW + 60)
    assert store.count("a", ONE, most, now=NOW + 1) == Window(True, Amount(2, 0), NOW + 60)
    assert store.count("a", ONE, most, now=NOW + 59) == Window(False, Amount(2, 0), NOW + 60)
    assert store.count("b", ONE, most, now=NOW + 59) == Window(True, Amount(1, 0), NOW + 119)
    assert store.count("a", ONE, most, now=NOW + 60) == Window(True, Amount(1, 0), NOW + 120)


def test_tokens_are_counted_afterwards_and_shut_when_they_are_used(store: WindowStore) -> None:
    most, whatever = Amount(UNLIMITED, 100), Amount(UNLIMITED, UNLIMITED)

    assert store.count("a", ONE, most, now=NOW).is_let_in
    assert store.count("a", Amount(0, 99), whatever, now=NOW).used == Amount(1, 99)
    assert store.count("a", ONE, most, now=NOW).is_let_in
    assert store.count("a", Amount(0, 5_000_000_000), whatever, now=NOW).used == Amount(2, 5_000_000_099)
    assert store.count("a", ONE, most, now=NOW) == Window(False, Amount(2, 5_000_000_099), NOW + 60)


def test_an_answer_that_outlasts_its_minute_counts_in_the_next(store: WindowStore) -> None:
    store.count("a", ONE, Amount(9, 9), now=NOW)

    late = store.count("a", Amount(0, 7), Amount(UNLIMITED, UNLIMITED), now=NOW + 61)

    assert late == Window(True, Amount(0, 7), NOW + 121)


@pytest.mark.parametrize("back_seconds", [100, 86_400])
def test_a_clock_that_was_put_back_locks_nobody_out(store: WindowStore, back_seconds: float) -> None:
    store.count("a", ONE, Amount(1, UNLIMITED), now=NOW)

    again = store.count("a", ONE, Amount(1, UNLIMITED), now=NOW - back_seconds)

    assert again == Window(True, Amount(1, 0), NOW - back_seconds + 60)


def test_clocks_of_two_machines_need_not_agree_to_the_second(store: WindowStore) -> None:
    store.count("a", ONE, Amount(1, UNLIMITED), now=NOW)

    assert not store.count("a", ONE, Amount(1, UNLIMITED), now=NOW - 5).is_let_in


def test_what_has_ended_is_forgotten(store: WindowStore) -> None:
    store.count("a", ONE, Amount(1, UNLIMITED), now=NOW)
    store.clean_up(now=NOW + 59)
    assert not store.count("a", ONE, Amount(1, UNLIMITED), now=NOW + 59).is_let_in

    store.clean_up(now=NOW + 60)
    assert store.count("a", ONE, Amount(1, UNLIMITED), now=NOW + 60).is_let_in


def _count(url: str, folder: Path, counted: "multiprocessing.Queue[int]") -> None:
    with closing(open_window_store(url, folder)) as store, ThreadPoolExecutor(8) as threads:
        windows = threads.map(lambda _: store.count("a", ONE, Amount(100, UNLIMITED), now=NOW), range(100))
        counted.put(sum(window.is_let_in for window in windows))


@pytest.mark.parametrize("kind", SHARED)
def test_processes_that_count_at_once_let_in_exactly_so_many(
    kind: str, servers: dict[str, Server], tmp_path: Path
) -> None:
    url = emptied_url(kind, servers).replace("conversations.db", "limits.db")
    processes = multiprocessing.get_context("fork")
    counted: multiprocessing.Queue[int] = processes.Queue()
    workers = [processes.Process(target=_count, args=(url, tmp_path / "data", counted)) for _ in range(4)]
    for worker in workers:
        worker.start()
    let_in = sum(counted.get(timeout=60) for _ in workers)
    for worker in workers:
        worker.join(60)

    assert let_in == 100
