import logging

import pytest

from opendify.errors import ResponsesUnavailable
from opendify.responses.keeping import MOST_EARLIER_RESPONSES, KeptResponse, KeptResponses
from tests.fakes.memory_answers import MemoryAnswers

DAY = 86_400.0


class Clock:
    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def store() -> MemoryAnswers:
    return MemoryAnswers()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def kept(store: MemoryAnswers, clock: Clock) -> KeptResponses:
    return KeptResponses(store, ttl_seconds=DAY, now=clock)


def id_of(number: int) -> str:
    return f"resp_{number:024x}"


def response(number: int, previous: int | None = None, text: str = "Hi") -> KeptResponse:
    shape: dict[str, object] = {
        "id": id_of(number),
        "previous_response_id": None if previous is None else id_of(previous),
        "output": [{"text": text}],
    }
    return KeptResponse(shape, [{"text": text}], "team", "anna", "c", "m")


def test_its_caller_finds_it_and_nobody_else(kept: KeptResponses) -> None:
    kept.keep(response(1), "team:anna")

    assert kept.find(id_of(1), "team") == response(1)
    assert kept.find(id_of(1), "others") is None
    assert kept.find(id_of(2), "team") is None


def test_its_time_is_over(kept: KeptResponses, clock: Clock) -> None:
    kept.keep(response(1), "team:anna")
    clock.now += DAY + 1

    assert kept.find(id_of(1), "team") is None


def test_the_first_of_a_repeat_stays(kept: KeptResponses) -> None:
    kept.keep(response(1, text="first"), "team:anna")
    kept.keep(response(1, text="again"), "team:anna")

    found = kept.find(id_of(1), "team")
    assert found
    assert found.output == [{"text": "first"}]


def test_halves_of_characters_come_back(kept: KeptResponses) -> None:
    kept.keep(response(1, text="\ud83d\x00"), "team:anna")

    found = kept.find(id_of(1), "team")
    assert found
    assert found.output == [{"text": "\ud83d\x00"}]


def test_the_line_of_responses_is_oldest_first_and_ends_where_one_is_gone(kept: KeptResponses) -> None:
    for number in range(1, 5):
        kept.keep(response(number, number - 1), "team:anna")
    kept.forget(id_of(2))

    assert [each.id for each in kept.lineage(id_of(4), "team")] == [id_of(3), id_of(4)]
    assert kept.lineage(id_of(2), "team") == []


def test_a_long_line_has_an_end(kept: KeptResponses) -> None:
    for number in range(MOST_EARLIER_RESPONSES + 5):
        kept.keep(response(number, number - 1 if number else None), "team:anna")

    assert len(kept.lineage(id_of(MOST_EARLIER_RESPONSES + 4), "team")) == MOST_EARLIER_RESPONSES


def test_a_line_of_large_responses_ends_sooner(kept: KeptResponses) -> None:
    for number in range(1, 9):
        kept.keep(response(number, number - 1, text="x" * 1_500_000), "team:anna")

    assert [each.id for each in kept.lineage(id_of(8), "team")] == [id_of(6), id_of(7), id_of(8)]


def test_a_line_that_bites_its_tail_has_an_end_too(kept: KeptResponses) -> None:
    kept.keep(response(1, 1), "team:anna")

    assert len(kept.lineage(id_of(1), "team")) == MOST_EARLIER_RESPONSES


def test_those_of_a_user_are_deleted_with_all_else_of_theirs(
    kept: KeptResponses, store: MemoryAnswers
) -> None:
    kept.keep(response(1), "team:anna")
    store.delete_of_user("team:anna")

    assert kept.find(id_of(1), "team") is None


@pytest.mark.parametrize("odd", ["", "resp_", id_of(1) + "\n", id_of(1).upper(), "x" * 5_000, "resp_*"])
def test_what_is_no_id_is_not_looked_for(store: MemoryAnswers, kept: KeptResponses, odd: str) -> None:
    store.is_down = True

    assert kept.find(odd, "team") is None


def test_a_response_that_is_too_large_is_not_kept(
    kept: KeptResponses, caplog: pytest.LogCaptureFixture
) -> None:
    kept.keep(response(1, text="x" * 5 * 1024**2), "team:anna")

    assert kept.find(id_of(1), "team") is None
    assert "too large" in caplog.text


def test_what_was_dropped_for_want_of_room_is_gone(
    kept: KeptResponses, store: MemoryAnswers, clock: Clock
) -> None:
    kept.keep(response(1), "team:anna")
    store.clean_up(now=clock.now, most_bytes=0)

    assert kept.find(id_of(1), "team") is None


def test_while_the_store_is_down_nothing_is_kept_and_nobody_knows(
    kept: KeptResponses, store: MemoryAnswers, caplog: pytest.LogCaptureFixture
) -> None:
    store.is_down = True
    with caplog.at_level(logging.WARNING):
        kept.keep(response(1), "team:anna")
    assert "could not be kept" in caplog.text

    with pytest.raises(ResponsesUnavailable):
        kept.find(id_of(1), "team")
    with pytest.raises(ResponsesUnavailable):
        kept.forget(id_of(1))


@pytest.mark.parametrize(("has_store", "ttl_seconds"), [(False, DAY), (True, 0.0)])
def test_nothing_is_kept_where_it_is_switched_off(
    store: MemoryAnswers, clock: Clock, has_store: bool, ttl_seconds: float
) -> None:
    kept = KeptResponses(store if has_store else None, ttl_seconds=ttl_seconds, now=clock)
    kept.keep(response(1), "team:anna")

    assert (kept.are_kept, kept.find(id_of(1), "team"), store.rows) == (False, None, {})
