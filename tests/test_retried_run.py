"""A run that reached nobody is begun again: silently, after a pause, and while somebody waits."""

import weakref

import pytest

from opendify.dify.retries import Retries, RetryBudget
from opendify.errors import ClientLeft, DifyCircuitOpen, DifyError, DifyTimeout, DifyUnreachable, GatewayError
from opendify.records import Client
from opendify.runs.retried_run import RetriedRun
from opendify.translate.turn import collect_reply
from tests.fakes.clocks import FakeClock
from tests.fakes.scripted_source import HELLO, ScriptedSource

UNREACHABLE = DifyUnreachable("away")


class Stand:
    """Each source or failure of `script` is what one try gets."""

    def __init__(self, *script: ScriptedSource | GatewayError, leaves_at: float = 1e9) -> None:
        self.clock = FakeClock(now=0.0)
        self.tried_at: list[float] = []
        self.budget = RetryBudget()
        self._script = list(script)
        self._leaves_at = leaves_at

    def begin(self) -> ScriptedSource:
        self.tried_at.append(self.clock())
        step = self._script.pop(0)
        if isinstance(step, GatewayError):
            raise step
        return step

    def run(self, most: int = 2) -> RetriedRun:
        return RetriedRun(
            self.begin,
            Retries(self.budget, most=most, within_seconds=5, clock=self.clock, jitter=lambda: 0.5),
            client=Client(lambda: self.clock() >= self._leaves_at),
            clock=self.clock,
            sleep=self.clock.advance,
        )

    @property
    def retries_are_free(self) -> bool:
        """Whether nobody holds a part of the budget any more."""
        taken = [self.budget.begin_retry() for _ in range(4)]
        return taken == [True, True, True, False]


def unreachable() -> ScriptedSource:
    return ScriptedSource(UNREACHABLE)


def test_it_is_the_run_that_got_through_in_the_end() -> None:
    first, second, third = unreachable(), unreachable(), ScriptedSource(*HELLO)
    stand = Stand(first, second, third)

    reply = collect_reply(stand.run().replies())

    assert reply.text == "Hello"
    assert stand.tried_at == pytest.approx([0, 0.25, 1.0], abs=0.01)
    assert (first.was_closed, second.was_closed, third.was_closed) == (True, True, False)
    assert stand.retries_are_free, "before it is closed: it got through"


def test_between_two_tries_reading_gives_nothing_and_returns_in_time() -> None:
    stand = Stand(unreachable(), ScriptedSource(*HELLO))
    run = stand.run()
    began: list[float] = []

    for _ in range(3):
        assert list(run.read(0.05)) == []
        began.append(stand.clock())

    assert not run.ended
    assert began == pytest.approx([0, 0.05, 0.1])


def test_a_client_that_left_ends_the_waiting() -> None:
    stand = Stand(unreachable(), ScriptedSource(*HELLO), leaves_at=0.1)
    run = stand.run()

    with pytest.raises(ClientLeft):
        collect_reply(run.replies())

    assert stand.clock() <= 0.35
    assert stand.tried_at == [0]
    run.close()
    assert stand.retries_are_free


def test_one_that_stays_unreachable_says_so() -> None:
    stand = Stand(unreachable(), unreachable(), unreachable())
    run = stand.run()

    with pytest.raises(DifyUnreachable):
        collect_reply(run.replies())

    assert len(stand.tried_at) == 3
    run.close()
    assert stand.retries_are_free


@pytest.mark.parametrize(
    "failure", [DifyError("broke off"), DifyCircuitOpen("open")], ids=["may have begun", "circuit open"]
)
def test_nothing_else_is_tried_again(failure: GatewayError) -> None:
    stand = Stand(ScriptedSource(failure), ScriptedSource(*HELLO))

    with pytest.raises(type(failure)):
        collect_reply(stand.run().replies())

    assert stand.tried_at == [0]


@pytest.mark.parametrize("begins_late", [False, True], ids=["at once", "when tried again"])
def test_what_cannot_even_begin_is_raised_and_gives_its_part_of_the_budget_back(begins_late: bool) -> None:
    refusal = DifyCircuitOpen("open")
    stand = Stand(unreachable(), refusal) if begins_late else Stand(refusal)

    with pytest.raises(DifyCircuitOpen):
        collect_reply(stand.run().replies())

    assert stand.retries_are_free


def test_what_cannot_begin_when_it_is_tried_again_has_not_begun() -> None:
    stand = Stand(unreachable(), DifyTimeout("no answer to an upload"))

    with pytest.raises(DifyTimeout) as caught:
        collect_reply(stand.run().replies())

    assert not caught.value.may_have_begun


def test_settling_and_closing_reach_the_run() -> None:
    source = ScriptedSource(*HELLO, memory_was_lost=True)
    run = Stand(source).run()
    collect_reply(run.replies())

    run.settle("Hello")
    run.close()
    run.close()

    assert run.ended
    assert run.memory_was_lost
    assert (source.settled, source.was_closed) == (["Hello"], True)


def test_a_pause_has_no_run_to_settle() -> None:
    run = Stand(unreachable(), ScriptedSource(*HELLO)).run()
    list(run.read(0))

    run.settle("")

    assert not run.ended
    assert not run.memory_was_lost


def test_a_run_that_spoke_lets_go_of_all_that_another_try_would_need() -> None:
    def begin() -> ScriptedSource:
        return ScriptedSource(*HELLO)

    run = RetriedRun(begin, Retries(RetryBudget(), most=2, within_seconds=5, clock=FakeClock(now=0.0)))
    request = weakref.ref(begin)
    del begin
    assert request() is not None

    assert list(run.read(1)) == [HELLO[0]]

    assert request() is None
