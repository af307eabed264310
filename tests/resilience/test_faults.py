"""Every fault of a connection to Dify, on the real server: an honest error or the whole answer, and one run.

Half an answer must never look like one that is whole, and nothing may stay behind.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import httpx
import psutil
import pytest

from tests.fakes.waiting import wait_until
from tests.resilience.fault_proxy import (
    FaultProxy,
    Toxic,
    bandwidth,
    latency,
    limit_data,
    reset_peer,
    slicer,
    slow_close,
    timeout,
)
from tests.resilience.fault_stand import (
    AT_ONCE,
    AWAY,
    BROKEN,
    SILENT,
    SPARE,
    TEXT,
    WITH_FALLBACK,
    WITH_FALLBACK_AFTER_ALL,
    Stand,
    assert_broken_off,
    assert_refused,
    stand,
    whole_text,
)


@pytest.fixture(scope="module")
def shared() -> Iterator[Stand]:
    """Shared: its circuit stays closed, so that one fault says nothing of the next."""
    with stand(DIFY_CIRCUIT_FAILURES="0") as made:
        yield made


@pytest.fixture
def here(shared: Stand) -> Iterator[Stand]:
    """Nothing is armed, and nothing may stay behind: no thread, no connection in use."""
    threads = shared.worker.num_threads()
    yield shared
    shared.proxy.listen()
    shared.proxy.arm()
    # Dify closes what is kept for a next run after two seconds.
    assert wait_until(lambda: not _connections(shared.worker), 15), _connections(shared.worker)
    assert wait_until(lambda: shared.worker.num_threads() <= threads, 15), (
        threads,
        shared.worker.num_threads(),
    )


def _connections(worker: psutil.Process) -> list[object]:
    return [each for each in worker.net_connections("tcp") if each.status == psutil.CONN_ESTABLISHED]


HARMLESS: Mapping[str, Toxic] = {
    "latency": latency(0.1, jitter=0),
    "jitter": latency(0.05, jitter=0.05),
    "bandwidth": bandwidth(8_000),
    "slicer": slicer(1),
    "slow_close": slow_close(2.0),
}


@pytest.mark.parametrize("name", HARMLESS)
def test_what_only_slows_the_answer_loses_nothing(here: Stand, name: str) -> None:
    here.proxy.arm(HARMLESS[name])
    before = here.runs

    assert [whole_text(answer) for answer in here.ask_all([False, True])] == [TEXT, TEXT]
    assert here.runs == before + 2


def test_a_slow_close_keeps_nobody_waiting(here: Stand) -> None:
    here.proxy.arm(slow_close(10.0))
    began_at = time.monotonic()

    assert whole_text(here.ask(streams=False)) == TEXT
    assert time.monotonic() - began_at < 5


@dataclass(frozen=True)
class Fault:
    """What happens, what a client gets that takes the answer whole or streamed, and how many runs began."""

    happens: Callable[[FaultProxy], None]
    whole: tuple[int, str]
    streamed: tuple[int, str]
    runs: int


# A stream's status is 200 where it had to be said before the fault.
FAULTS: Mapping[str, Fault] = {
    "nobody listens": Fault(FaultProxy.refuse, AWAY, AWAY, 0),
    "never accepts": Fault(FaultProxy.never_accept, AWAY, AWAY, 0),
    "reset at once": Fault(lambda proxy: proxy.arm(resets_at_once=True), BROKEN, BROKEN, 0),
    "hangs before Dify": Fault(
        lambda proxy: proxy.arm(swallows_requests=True), SILENT, (200, "upstream_timeout"), 0
    ),
    "hangs after Dify": Fault(lambda proxy: proxy.arm(timeout), SILENT, (200, "upstream_timeout"), 1),
    "cut before the head": Fault(lambda proxy: proxy.arm(limit_data(0)), BROKEN, BROKEN, 1),
    "cut in the head": Fault(lambda proxy: proxy.arm(limit_data(40)), BROKEN, BROKEN, 1),
    "cut in the first event": Fault(lambda proxy: proxy.arm(limit_data(600)), BROKEN, BROKEN, 1),
    "cut in mid-answer": Fault(
        lambda proxy: proxy.arm(limit_data(2_000)), BROKEN, (200, "upstream_error"), 1
    ),
    "reset before the head": Fault(lambda proxy: proxy.arm(reset_peer(0)), BROKEN, BROKEN, 1),
    "a gateway's 502": Fault(lambda proxy: proxy.arm(fails_with=502), BROKEN, BROKEN, 0),
    "a gateway's 503": Fault(lambda proxy: proxy.arm(fails_with=503), BROKEN, BROKEN, 0),
    "a gateway's 504": Fault(lambda proxy: proxy.arm(fails_with=504), BROKEN, BROKEN, 0),
    "reset in mid-answer": Fault(
        lambda proxy: proxy.arm(reset_peer(2_000)), BROKEN, (200, "upstream_error"), 1
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_what_breaks_the_answer_is_an_honest_error(here: Stand, name: str) -> None:
    fault = FAULTS[name]
    before = here.runs
    fault.happens(here.proxy)

    whole, streamed = here.ask_all([False, True])

    assert_refused(whole, *fault.whole)
    status, code = fault.streamed
    if status == 200:
        assert_broken_off(streamed, code)
    else:
        assert_refused(streamed, status, code)
    assert here.runs == before + 2 * fault.runs


@pytest.mark.parametrize("ending", [limit_data, reset_peer], ids=["cut", "reset"])
def test_an_answer_that_ends_anywhere_is_whole_or_an_error(
    here: Stand, ending: Callable[[int], Toxic]
) -> None:
    assert whole_text(here.ask(streams=True)) == TEXT
    length = len(here.proxy.passed)
    before = here.runs
    places = range(17, length - 17, length // 12)
    found: list[str | None] = []

    for place in places:
        here.proxy.arm(ending(place))
        found += [whole_text(answer) for answer in here.ask_all([False, True])]

    assert set(found) <= {None, TEXT}
    assert found[:2] == [None, None]
    assert here.runs == before + 2 * len(places)


@pytest.mark.parametrize("name", ["nobody listens", "never accepts"])
def test_another_model_answers_where_the_first_cannot_be_reached(here: Stand, name: str) -> None:
    FAULTS[name].happens(here.proxy)

    for answer in here.ask_all([False, True], model=WITH_FALLBACK):
        assert whole_text(answer) == TEXT
        assert answer.headers["X-OpenDify-Model"] == SPARE


# Nothing was given to the client yet, though at Dify something may have been paid for.
MAY_HAVE_BEGUN = ["a gateway's 503", "reset at once", "cut before the head", "cut in the first event"]


@pytest.mark.parametrize("name", MAY_HAVE_BEGUN)
def test_another_model_answers_where_the_first_may_have_begun_only_if_it_is_told_to(
    here: Stand, name: str
) -> None:
    FAULTS[name].happens(here.proxy)

    for answer in here.ask_all([False, True], model=WITH_FALLBACK):
        assert_refused(answer, *BROKEN)
    for answer in here.ask_all([False, True], model=WITH_FALLBACK_AFTER_ALL):
        assert whole_text(answer) == TEXT
        assert answer.headers["X-OpenDify-Model"] == SPARE


def test_what_a_client_was_given_is_never_followed_by_another_models_words(here: Stand) -> None:
    FAULTS["cut in mid-answer"].happens(here.proxy)

    whole, streamed = here.ask_all([False, True], model=WITH_FALLBACK_AFTER_ALL)

    assert whole_text(whole) == TEXT
    assert whole.headers["X-OpenDify-Model"] == SPARE
    assert_broken_off(streamed, "upstream_error")


def test_a_run_that_meets_nobody_is_tried_again_until_somebody_is_back(here: Stand) -> None:
    before = here.runs
    here.proxy.refuse()
    answers: list[httpx.Response] = []
    asking = threading.Thread(target=lambda: answers.append(here.ask(streams=True)))
    asking.start()
    assert wait_until(lambda: "a run is tried again" in here.server.log, 10)

    here.proxy.listen()
    asking.join(20)

    assert [whole_text(answer) for answer in answers] == [TEXT]
    assert here.runs == before + 1


def test_a_dify_that_is_away_is_left_alone_and_found_again_by_one_call() -> None:
    with stand(DIFY_CIRCUIT_SECONDS="2", DIFY_CIRCUIT_FAILURES="5") as here:
        before = here.runs
        here.proxy.refuse()
        refused = here.ask_all([True] * 6 * AT_ONCE)
        codes = Counter(answer.json()["error"]["code"] for answer in refused)
        assert set(codes) == {"upstream_unreachable", "upstream_circuit_open"}
        assert codes["upstream_circuit_open"] > codes["upstream_unreachable"]
        assert all(answer.headers["Retry-After"] for answer in refused)

        here.proxy.arm()
        here.proxy.listen()
        assert wait_until(lambda: here.ask(streams=True).status_code == 200, 15)
        answers = here.ask_all([True] * 2 * AT_ONCE)

        assert {whole_text(answer) for answer in answers} == {TEXT}
        assert here.runs == before + 1 + 2 * AT_ONCE
