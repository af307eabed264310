"""What is counted is the real work, and growth is noticed."""

import pytest

from benchmarks.dialects import OPENAI
from benchmarks.directive import answer_text
from benchmarks.instructions import BASELINE, EVENTS_A_READ, Counts, compare, decode_counts
from benchmarks.transform import dify_reads, transform

BEFORE = Counts("CPython 3.11", {1: 1_000, 16: 800})


@pytest.mark.parametrize("events_a_read", EVENTS_A_READ)
def test_what_is_counted_makes_a_whole_answer_for_the_client(events_a_read: int) -> None:
    written = list(transform(dify_reads(40, events_a_read)))

    assert len(written) == -(-40 // events_a_read) + 1
    assert OPENAI.read_stream(b"".join(written)) == answer_text(40)


@pytest.mark.parametrize(
    ("after", "fault"),
    [
        (Counts("CPython 3.11", {1: 1_100, 16: 10}), None),
        (Counts("CPython 3.11", {1: 900, 16: 881}), "881 instructions with 16 a read, 10% more than 800"),
        (Counts("CPython 3.13", {1: 9_000, 16: 9_000}), None),
    ],
    ids=["a tenth", "more than a tenth", "another Python"],
)
def test_an_event_may_take_a_tenth_more_than_before(after: Counts, fault: str | None) -> None:
    faults = list(compare(after, BEFORE))

    assert len(faults) == (fault is not None)
    assert all(fault in said for said in faults if fault)


def test_the_measure_that_is_kept_has_all_that_is_counted() -> None:
    assert tuple(decode_counts(BASELINE.read_bytes()).an_event) == EVENTS_A_READ
