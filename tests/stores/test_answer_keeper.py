"""What one process does around the store of answers: hold, forgive, clean up."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest

from opendify.stores.answer_keeper import CLAIM_SECONDS, AnswerKeeper, NewRequest, Note, pause_after
from opendify.stores.answers import NOT_KEPT, StoredAnswer
from tests.fakes.clocks import FakeClock
from tests.fakes.memory_answers import MemoryAnswers
from tests.fakes.waiting import wait_until

NOW = 1_000_000.0


def request(name: str = "id", *, anew: bool = False) -> NewRequest:
    return NewRequest(id=name, key=f"key of {name}", fingerprint="f", user="team:anna", anew=anew)


@contextmanager
def keeping(
    store: MemoryAnswers, clock: FakeClock, *, sweep_seconds: float = 3_600, renewal_seconds: float = 3_600
) -> Iterator[AnswerKeeper]:
    keeper = AnswerKeeper(
        store,
        crash_seconds=60,
        most_bytes=1_000,
        now=clock,
        sweep_seconds=sweep_seconds,
        renewal_seconds=renewal_seconds,
    )
    try:
        yield keeper
    finally:
        keeper.close()


def begin(keeper: AnswerKeeper, name: str = "id") -> Note:
    note = keeper.begin(request(name))
    assert isinstance(note, Note)
    return note


def test_a_request_is_held_for_as_long_as_it_goes_on() -> None:
    store, clock = MemoryAnswers(), FakeClock(NOW)
    with keeping(store, clock, renewal_seconds=0.01) as keeper:
        note = begin(keeper)
        for _ in range(5):
            clock.advance(CLAIM_SECONDS - 1)
            until = clock() + CLAIM_SECONDS
            assert wait_until(lambda until=until: store.rows["id"].claimed_until == until)  # type: ignore[misc] # A default.
        note.finish(b"{}", keep_seconds=60)

        assert store.rows["id"].outcome == b"{}"
        assert store.rows["id"].expires_at == clock() + 60


def test_however_many_requests_are_held_they_are_held_by_one_call() -> None:
    class Noting(MemoryAnswers):
        def renew(self, ids: Sequence[str], *, now: float, claimed_until: float, expires_at: float) -> None:
            calls.append(set(ids))

    calls: list[set[str]] = []
    names = {f"request {number}" for number in range(50)}
    with keeping(Noting(), FakeClock(NOW), renewal_seconds=0.01) as keeper:
        notes = [begin(keeper, name) for name in names]

        assert wait_until(lambda: names in calls, 10), "where a call takes a second the last would lapse"

        for note in notes[1:]:
            note.forget()
        calls.clear()
        assert wait_until(lambda: calls[-2:] == [{notes[0]._id}] * 2, 10)
        notes[0].forget()


def test_what_expired_is_deleted_without_any_further_request() -> None:
    store, clock = MemoryAnswers(), FakeClock(NOW)
    with keeping(store, clock, sweep_seconds=0.01) as keeper:
        for name in ("a", "b"):
            begin(keeper, name).finish(b"{}", keep_seconds=60)
        clock.advance(59)
        assert not wait_until(lambda: len(store.rows) < 2, 0.1)
        clock.advance(1)

        assert wait_until(lambda: not store.rows)
        # The cleaning had ended, and begins again.
        begin(keeper, "c").finish(b"{}", keep_seconds=60)
        clock.advance(60)
        assert wait_until(lambda: not store.rows)


def test_a_failed_cleaning_is_not_the_last(caplog: pytest.LogCaptureFixture) -> None:
    class Failing(MemoryAnswers):
        failures_left = 3

        def clean_up(self, *, now: float, most_bytes: int) -> int:
            if self.failures_left:
                self.failures_left -= 1
                raise ValueError
            return super().clean_up(now=now, most_bytes=most_bytes)

    store, clock = Failing(), FakeClock(NOW)
    with keeping(store, clock, sweep_seconds=0.01) as keeper:
        begin(keeper).finish(b"{}", keep_seconds=60)
        clock.advance(60)

        assert wait_until(lambda: not store.rows, 10)
        assert "ValueError" in caplog.text


def test_what_is_noted_after_the_end_is_cleaned_up_although_the_last_cleaning_is_not_over() -> None:
    class Slow(MemoryAnswers):
        def __init__(self) -> None:
            super().__init__()
            self.is_cleaning, self.may_go_on = threading.Event(), threading.Event()

        def clean_up(self, *, now: float, most_bytes: int) -> int:
            self.is_cleaning.set()
            self.may_go_on.wait(10)
            return super().clean_up(now=now, most_bytes=most_bytes)

    store, clock = Slow(), FakeClock(NOW)
    with keeping(store, clock, sweep_seconds=0.01) as keeper:
        begin(keeper, "a").finish(b"{}", keep_seconds=60)
        assert store.is_cleaning.wait(10)
        keeper.close()
        begin(keeper, "b").finish(b"{}", keep_seconds=60)
        store.may_go_on.set()
        clock.advance(60)

        assert wait_until(lambda: not store.rows, 10)


def test_what_a_process_before_left_is_deleted_as_well() -> None:
    store, clock = MemoryAnswers(), FakeClock(NOW)
    with keeping(store, clock) as keeper:
        begin(keeper).finish(b"{}", keep_seconds=60)
    clock.advance(60)

    with keeping(store, clock) as keeper:
        keeper.clean_up()

    assert store.rows == {}


def test_of_more_than_fits_only_that_it_ended_is_kept() -> None:
    store, clock = MemoryAnswers(), FakeClock(NOW)
    with keeping(store, clock) as keeper:
        for name in ("a", "b"):
            begin(keeper, name).finish(b"x" * 600, keep_seconds=60)
            clock.advance(1)
        keeper.clean_up()

    assert {name: row.outcome for name, row in store.rows.items()} == {"a": NOT_KEPT, "b": b"x" * 600}


def test_a_store_that_is_down_is_counted_and_nothing_else() -> None:
    store, clock = MemoryAnswers(), FakeClock(NOW)
    with keeping(store, clock) as keeper:
        known = StoredAnswer(
            id="id", key="key", fingerprint="f", user="u", begun_at=NOW, claimed_until=NOW, expires_at=NOW
        )
        store.is_down = True
        begin(keeper).finish(b"{}", keep_seconds=60)
        begin(keeper).forget()
        assert keeper.look_again(known) is known
        keeper.clean_up()

        assert keeper.failures == 6


@pytest.mark.parametrize(
    ("sweep_seconds", "pause_seconds"), [(0.0, 15.0), (0.005, 15.0), (0.05, 100.0), (5.0, 600.0)]
)
def test_the_more_there_is_to_look_at_the_longer_a_sweep_waits(
    sweep_seconds: float, pause_seconds: float
) -> None:
    assert pause_after(sweep_seconds, 15.0) == pytest.approx(pause_seconds)
