"""How long answers go on in a process that was told to end, in a fake clock's time."""

import pytest

from opendify.errors import Draining
from opendify.runs.drain import Drain
from tests.fakes.clocks import FakeClock


def test_an_app_that_nobody_tells_of_an_end_never_ends() -> None:
    drain = Drain()

    drain.refuse_new()
    drain.cut_short()
    assert not drain.has_begun


def test_the_time_that_is_left_counts_from_the_order_to_end() -> None:
    clock = FakeClock(now=0.0)
    drain = Drain(clock=clock)
    drain.follow(lambda: clock() >= 1_000, 110)
    clock.advance(999)
    drain.cut_short()

    clock.advance(1)
    drain.cut_short()
    clock.advance(109)
    drain.cut_short()
    drain.refuse_new()

    clock.advance(1)
    with pytest.raises(Draining) as ended:
        drain.cut_short()
    assert ended.value.should_retry is False, "a second run would be paid for"
    with pytest.raises(Draining) as refused:
        drain.refuse_new()
    assert refused.value.should_retry is None, "nothing was begun"


def test_a_quick_end_leaves_no_time() -> None:
    drain = Drain(clock=FakeClock(now=0.0))
    drain.follow(lambda: False, 110)

    drain.end_now()

    with pytest.raises(Draining):
        drain.cut_short()


def test_whoever_follows_learns_once_that_the_end_began() -> None:
    begun: list[str] = []
    drain = Drain(clock=FakeClock(now=0.0))
    drain.follow(lambda: True, 10, on_begin=lambda: begun.append("begun"))

    drain.cut_short()
    drain.refuse_new()
    drain.end_now()

    assert begun == ["begun"]


def test_it_is_idle_when_nothing_goes_on_for_any_answer() -> None:
    clock = FakeClock(now=0.0)
    drain = Drain(clock=clock, sleep=clock.advance)
    drain.enter("one")
    drain.enter("two")
    drain.leave("one")
    assert drain.open_answers == 1
    assert not drain.wait_until_idle(2)
    assert clock.now >= 2

    drain.leave("two")
    assert drain.wait_until_idle(0)
