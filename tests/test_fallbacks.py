"""Which of several models answers, and what a client must never notice of the others."""

import weakref
from collections.abc import Callable
from contextlib import closing

import pytest

from opendify.errors import (
    ClientLeft,
    ContextLengthExceeded,
    ConversationNotFound,
    DifyAppError,
    DifyAuthError,
    DifyCircuitOpen,
    DifyError,
    DifyRunFailed,
    DifyTimeout,
    DifyUnreachable,
    GatewayError,
    InternalError,
    InvalidInput,
    InvalidRequest,
    QuotaExceeded,
    RateLimited,
)
from opendify.runs.fallbacks import Candidate, Fallbacks
from opendify.runs.opening import Opening
from opendify.translate.turn import Reply, ReplyEnded, ReplyStarted, TextDelta, collect_reply
from tests.fakes.clocks import FakeClock
from tests.fakes.scripted_source import HELLO, ScriptedSource

STARTED, DELTA, _ = HELLO
UNREACHABLE = DifyUnreachable("away")


class Stand:
    """Models `one`, `two`… each with what its run gives, or why it cannot begin."""

    def __init__(self, *models: ScriptedSource | Exception) -> None:
        self.clock = FakeClock(now=0.0)
        self.begun: list[str] = []
        self._models = models

    def fallbacks(
        self, *, after_failed_runs: bool = False, is_streamed: bool = True, began_before: float = 0
    ) -> Fallbacks:
        """What `is_streamed` has an opening, due after 5 s; it began so many seconds before the first run."""
        names = ("one", "two", "three")[: len(self._models)]
        models = zip(names, self._models, strict=True)
        opening = Opening(5, self.clock)
        if began_before:
            opening.begin()
            self.clock.advance(began_before)
        fallbacks = Fallbacks(
            [Candidate(name, self._beginning(name, model)) for name, model in models],
            after_failed_runs=after_failed_runs,
            opening=opening if is_streamed else None,
        )
        if not began_before:
            opening.begin()
        return fallbacks

    def _beginning(self, name: str, model: ScriptedSource | Exception) -> Callable[[], ScriptedSource]:
        def begin() -> ScriptedSource:
            self.begun.append(name)
            if isinstance(model, Exception):
                raise model
            return model.of_model(name)

        return begin

    def collect(self, *, after_failed_runs: bool = False, is_streamed: bool = True) -> Reply:
        with closing(self.fallbacks(after_failed_runs=after_failed_runs, is_streamed=is_streamed)) as source:
            return collect_reply(source.replies())


def good() -> ScriptedSource:
    return ScriptedSource(*HELLO)


CANNOT_HAVE_STARTED = (
    UNREACHABLE,
    DifyCircuitOpen("open"),
    RateLimited("full"),
    QuotaExceeded("used up"),
    DifyAuthError("wrong key"),
    DifyAppError("not published"),
)
FAILED_RUNS = (
    DifyRunFailed("the model is on fire"),
    DifyError("broke off"),
    DifyTimeout("silent"),
    RateLimited("in mid-run").after_work(),
    ContextLengthExceeded("too long").after_work(),
)
NOTHING_TO_MEND = (
    InvalidRequest("no messages"),
    InvalidInput("age is missing"),
    ConversationNotFound("gone"),
    ClientLeft("nobody waits"),
    InternalError("a bug"),
)


def _kind(value: object) -> str:
    return type(value).__name__ if isinstance(value, Exception) else ""


def test_the_first_that_can_answers_and_the_others_are_never_asked() -> None:
    stand = Stand(good(), good())

    assert stand.collect().text == "Hello"
    assert stand.begun == ["one"]


@pytest.mark.parametrize("failure", CANNOT_HAVE_STARTED, ids=_kind)
@pytest.mark.parametrize("when", ["begins", "is read"])
def test_what_cannot_have_started_is_answered_by_the_next(failure: GatewayError, when: str) -> None:
    failed = ScriptedSource(None, failure)
    stand = Stand(failure if when == "begins" else failed, good())

    reply = stand.collect()

    assert reply.text == "Hello"
    assert reply.started.answered_by == "two"
    assert when == "begins" or failed.was_closed


@pytest.mark.parametrize("failure", FAILED_RUNS, ids=_kind)
def test_a_failed_run_is_answered_by_the_next_only_where_the_model_says_so(failure: GatewayError) -> None:
    with pytest.raises(type(failure)):
        Stand(ScriptedSource(failure), good()).collect()

    assert Stand(ScriptedSource(failure), good()).collect(after_failed_runs=True).text == "Hello"


@pytest.mark.parametrize("failure", NOTHING_TO_MEND, ids=_kind)
@pytest.mark.parametrize("after_failed_runs", [False, True])
def test_what_another_app_cannot_mend_is_the_client_s_answer(
    failure: GatewayError, after_failed_runs: bool
) -> None:
    stand = Stand(ScriptedSource(failure), good())

    with pytest.raises(type(failure)):
        stand.collect(after_failed_runs=after_failed_runs)

    assert stand.begun == ["one"]


def test_a_slow_question_before_the_run_is_none_that_may_have_begun() -> None:
    assert Stand(DifyTimeout("/info"), good()).collect().text == "Hello"


def test_each_has_its_turn_in_the_order_of_the_list() -> None:
    stand = Stand(UNREACHABLE, ScriptedSource(RateLimited("full")), good())

    assert stand.collect().started.answered_by == "three"
    assert stand.begun == ["one", "two", "three"]


def test_where_none_can_the_client_learns_why_its_own_model_did_not() -> None:
    stand = Stand(ScriptedSource(UNREACHABLE), DifyAuthError("a forgotten key"))

    with pytest.raises(DifyUnreachable):
        stand.collect()


@pytest.mark.parametrize("more", [(), (UNREACHABLE,), (ScriptedSource(UNREACHABLE),)])
def test_where_any_may_have_begun_nobody_is_told_to_try_again(
    more: tuple[ScriptedSource | Exception, ...],
) -> None:
    stand = Stand(UNREACHABLE, ScriptedSource(DifyRunFailed("the model is on fire")), *more)

    with pytest.raises(DifyRunFailed) as caught:
        stand.collect(after_failed_runs=True)

    assert caught.value.headers() == {"x-should-retry": "false"}


@pytest.mark.parametrize("failure", [UNREACHABLE, DifyRunFailed("late")], ids=_kind)
def test_after_the_first_words_of_a_stream_no_other_takes_over(failure: GatewayError) -> None:
    stand = Stand(ScriptedSource(STARTED, DELTA, failure), good())

    with pytest.raises(type(failure)):
        stand.collect(after_failed_runs=True)

    assert stand.begun == ["one"]


@pytest.mark.parametrize("failure", [UNREACHABLE, DifyRunFailed("late")], ids=_kind)
def test_once_the_opening_of_a_stream_left_no_other_takes_over(failure: GatewayError) -> None:
    stand = Stand(ScriptedSource(None, failure), good())
    source = stand.fallbacks(after_failed_runs=True)
    list(source.read(1))
    stand.clock.advance(5)

    with pytest.raises(type(failure)):
        list(source.read(1))


def test_the_time_before_the_opening_begins_when_the_first_run_has_begun() -> None:
    stand = Stand(ScriptedSource(UNREACHABLE), good())
    source = stand.fallbacks()
    stand.clock.advance(4.9)

    list(source.read(0))

    assert stand.begun == ["one", "two"]


def test_a_run_that_begins_late_can_be_replaced_only_while_the_opening_waits() -> None:
    stand = Stand(ScriptedSource(None, UNREACHABLE), good())
    source = stand.fallbacks(after_failed_runs=True, began_before=4)
    list(source.read(0))
    stand.clock.advance(1)

    with pytest.raises(DifyUnreachable):
        list(source.read(0))

    assert stand.begun == ["one"]


def test_after_the_opening_only_the_model_that_was_asked_for_begins() -> None:
    stand = Stand(UNREACHABLE, good())

    with pytest.raises(DifyUnreachable):
        stand.fallbacks(after_failed_runs=True, began_before=5)

    assert stand.begun == ["one"]


def test_a_stream_begins_only_with_content_while_its_run_may_yet_be_replaced() -> None:
    stand = Stand(ScriptedSource(STARTED, None, DifyRunFailed("no")), good())
    source = stand.fallbacks(after_failed_runs=True)

    assert [event for _ in range(3) for event in source.read(0)] == []
    assert list(source.read(0)) == [ReplyStarted("task-1", "message-1", "conversation-1", answered_by="two")]


def test_a_stream_whose_run_is_not_replaced_begins_with_its_start() -> None:
    source = Stand(good(), good()).fallbacks()

    assert [type(event) for event in source.read(0)] == [ReplyStarted]


def test_the_start_is_held_back_no_longer_than_the_opening() -> None:
    stand = Stand(ScriptedSource(STARTED, None, DELTA), good())
    source = stand.fallbacks(after_failed_runs=True)
    assert list(source.read(0)) == []

    stand.clock.advance(5)

    assert [type(event) for event in source.read(0)] == [ReplyStarted]
    assert list(source.read(0)) == [DELTA]


def test_of_an_answer_that_leaves_as_a_whole_even_half_a_text_can_be_replaced() -> None:
    stand = Stand(ScriptedSource(STARTED, TextDelta("Hal"), DifyRunFailed("half way")), good())

    reply = stand.collect(after_failed_runs=True, is_streamed=False)

    assert reply.text == "Hello"
    assert reply.started.answered_by == "two"


def test_the_last_model_s_words_are_not_held_back() -> None:
    stand = Stand(UNREACHABLE, ScriptedSource(STARTED, DELTA, ReplyEnded()))
    source = stand.fallbacks(after_failed_runs=True, is_streamed=False)

    assert [type(event) for event in source.read(0)] == [ReplyStarted]


def test_a_bug_is_not_covered_up_by_another_model() -> None:
    stand = Stand(ScriptedSource(KeyError("a bug")), good())

    with pytest.raises(KeyError):
        stand.collect(after_failed_runs=True)


def test_settling_and_closing_reach_the_one_that_answers() -> None:
    failed, answering = ScriptedSource(UNREACHABLE), ScriptedSource(*HELLO, memory_was_lost=True)
    source = Stand(failed, answering).fallbacks()
    collect_reply(source.replies())

    source.settle("Hello")
    source.close()

    assert source.ended
    assert source.memory_was_lost
    assert (answering.settled, answering.was_closed) == (["Hello"], True)
    assert (failed.settled, failed.was_closed) == ([], True)


def test_a_model_that_speaks_lets_go_of_all_that_the_others_would_need() -> None:
    def begin() -> ScriptedSource:
        raise AssertionError("nobody failed")

    fallbacks = Fallbacks([Candidate("one", lambda: ScriptedSource(*HELLO)), Candidate("two", begin)])
    request = weakref.ref(begin)
    del begin
    assert request() is not None

    assert list(fallbacks.read(1))

    assert request() is None
