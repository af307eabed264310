"""Repeats of a request get what its first attempt got, in a fake clock's time."""

from collections.abc import Callable, Iterator, Sequence

import pytest

from opendify.errors import (
    ClientLeft,
    ClientLeftEarly,
    DifyRunFailed,
    DifyUnreachable,
    Draining,
    GatewayError,
    IdempotencyKeyReused,
    InternalError,
    ModelNotFound,
    RateLimited,
    RepeatRefused,
)
from opendify.records import NOBODY, Client
from opendify.runs.attempts import Attempt
from opendify.runs.drain import Drain
from opendify.runs.repeats import Answer, Asked, KeepTimes, Repeats
from opendify.stores.answer_keeper import CLAIM_SECONDS, AnswerKeeper
from opendify.translate.turn import ReplyEnded, ReplyEvent, ReplyStarted, TextDelta, collect_reply
from tests.fakes.clocks import FakeClock
from tests.fakes.memory_answers import MemoryAnswers

FIRST = Attempt("key", "fingerprint", is_first=True)
RETRY = Attempt("key", "fingerprint")
KEYED = Attempt("key", "fingerprint", has_idempotency_key=True)
HELLO = (ReplyStarted("task", "message", "conversation"), TextDelta("Hel"), TextDelta("lo"), ReplyEnded())


class FakeRun:
    """Says `events`, one a read, and then fails with `error` where there is one; silent where it has none."""

    def __init__(self, events: Sequence[ReplyEvent], error: Exception | None = None) -> None:
        self._events = list(events)
        self._error = error
        self.ended = False
        self.memory_was_lost = True
        self.story: list[str] = []

    def read(self, timeout_seconds: float) -> Iterator[ReplyEvent]:
        if self._events:
            event = self._events.pop(0)
            self.ended = isinstance(event, ReplyEnded)
            yield event
        elif self._error:
            raise self._error

    def replies(self) -> Iterator[ReplyEvent]:
        while not self.ended:
            yield from self.read(1)

    def settle(self, answer: str | None) -> None:
        self.story.append(f"settled: {answer}")

    def close(self) -> None:
        self.story.append("closed")


class Stand:
    """Two processes that share one store of answers."""

    def __init__(self) -> None:
        self.clock = FakeClock(1_000_000)
        self.drain = Drain()
        self.answers = MemoryAnswers()
        self.runs: list[FakeRun] = []
        self.while_waiting: Callable[[], object] = lambda: None
        self._made = [self._process(), self._process()]
        self._ids = iter(range(100))

    def ask(
        self,
        attempt: Attempt | None,
        events: Sequence[ReplyEvent] = HELLO,
        *,
        process: int = 0,
        error: Exception | None = None,
        refused: Exception | None = None,
        client: Client = NOBODY,
    ) -> Answer:
        def begin() -> FakeRun:
            if refused:
                raise refused
            self.runs.append(FakeRun(events, error))
            return self.runs[-1]

        asked = Asked(attempt, f"chatcmpl-{next(self._ids)}", "team:anna", begin, client)
        return self._made[process].answer(asked)

    def die(self) -> None:
        """The first process is no more."""
        self.clock.advance(CLAIM_SECONDS)

    def once_while_waiting(self, happening: Callable[[], object]) -> None:
        def happen() -> None:
            self.while_waiting = lambda: None
            happening()

        self.while_waiting = happen

    def _process(self) -> Repeats:
        # Claims are renewed by nobody here.
        keeper = AnswerKeeper(
            self.answers, crash_seconds=60, most_bytes=1 << 20, now=self.clock, renewal_seconds=3_600
        )
        return Repeats(
            keeper,
            KeepTimes(60, 900),
            patience_seconds=1_800,
            drain=self.drain,
            now=self.clock,
            sleep=self._sleep,
        )

    def _sleep(self, seconds: float) -> None:
        self.clock.advance(max(seconds, 0.01))
        self.while_waiting()


@pytest.fixture
def stand() -> Stand:
    return Stand()


def whole(answer: Answer) -> str:
    """As the gateway collects."""
    try:
        reply = collect_reply(answer.source.replies())
        answer.source.settle(reply.text)
    finally:
        answer.source.close()
    return reply.text


def fails(answer: Answer, kind: type[GatewayError] = GatewayError) -> GatewayError:
    with pytest.raises(kind) as caught:
        whole(answer)
    return caught.value


class TestFinished:
    @pytest.mark.parametrize(("first", "repeat"), [(FIRST, RETRY), (KEYED, KEYED), (RETRY, RETRY)])
    def test_a_repeat_gets_the_answer_and_no_run(self, stand: Stand, first: Attempt, repeat: Attempt) -> None:
        original = stand.ask(first)
        assert whole(original) == "Hello"
        stand.clock.advance(30)

        again = stand.ask(repeat, process=1)

        assert (again.id, again.created) == (original.id, original.created)
        assert list(again.source.replies()) == [HELLO[0], TextDelta("Hello"), ReplyEnded()]
        assert again.source.memory_was_lost
        assert again.source.ended
        assert len(stand.runs) == 1

    def test_it_is_noted_before_the_client_learns_of_the_end(self, stand: Stand) -> None:
        original = stand.ask(FIRST)
        reply = collect_reply(original.source.replies())
        original.source.settle(reply.text)

        assert whole(stand.ask(RETRY)) == "Hello"
        assert stand.runs[0].story == ["settled: Hello"]

    def test_a_person_who_asks_once_more_gets_a_new_run(self, stand: Stand) -> None:
        whole(stand.ask(FIRST))

        assert whole(stand.ask(FIRST, [*HELLO[:2], TextDelta("p"), ReplyEnded()])) == "Help"
        assert whole(stand.ask(RETRY)) == "Help"
        assert len(stand.runs) == 2

    @pytest.mark.parametrize(
        ("attempt", "seconds"), [(RETRY, 60), (KEYED, 900)], ids=["SDK", "Idempotency-Key"]
    )
    def test_an_answer_is_kept_for_its_time(self, stand: Stand, attempt: Attempt, seconds: float) -> None:
        whole(stand.ask(attempt))
        stand.clock.advance(seconds - 1)
        whole(stand.ask(attempt))
        assert len(stand.runs) == 1
        stand.clock.advance(1)

        whole(stand.ask(attempt))

        assert len(stand.runs) == 2

    def test_who_gives_no_sign_always_gets_a_run(self, stand: Stand) -> None:
        for _ in range(2):
            whole(stand.ask(None))

        assert len(stand.runs) == 2
        assert stand.answers.rows == {}

    def test_a_key_stands_for_one_request(self, stand: Stand) -> None:
        whole(stand.ask(KEYED))

        with pytest.raises(IdempotencyKeyReused) as caught:
            stand.ask(Attempt("key", "another", has_idempotency_key=True))
        assert caught.value.param == "Idempotency-Key"
        assert len(stand.runs) == 1

    def test_of_a_huge_answer_only_that_it_was_given_is_kept(self, stand: Stand) -> None:
        huge: list[ReplyEvent] = [HELLO[0], *[TextDelta("x" * 1_000_000)] * 9, ReplyEnded()]
        assert len(whole(stand.ask(FIRST, huge))) == 9_000_000

        assert "too large" in fails(stand.ask(RETRY), RepeatRefused).message
        assert len(stand.runs) == 1


class TestFailed:
    def test_a_run_that_failed_is_not_run_again(self, stand: Stand) -> None:
        failed = fails(stand.ask(FIRST, HELLO[:2], error=DifyRunFailed("on fire")))
        stand.clock.advance(59)

        again = fails(stand.ask(RETRY, process=1))

        assert (again.status, again.to_body(), again.headers()) == (502, failed.to_body(), failed.headers())
        assert len(stand.runs) == 1

    def test_a_fault_of_ours_is_not_run_again_either(self, stand: Stand) -> None:
        with pytest.raises(KeyError):
            whole(stand.ask(FIRST, HELLO[:2], error=KeyError("secret")))

        again = fails(stand.ask(RETRY))

        assert again.code == InternalError.code
        assert "secret" not in again.message

    def test_a_failure_under_a_key_is_kept_no_longer_than_any_other(self, stand: Stand) -> None:
        fails(stand.ask(KEYED, HELLO[:2], error=DifyRunFailed("on fire")))
        stand.clock.advance(60)

        assert whole(stand.ask(KEYED)) == "Hello"

    @pytest.mark.parametrize("attempt", [RETRY, KEYED], ids=["SDK", "Idempotency-Key"])
    @pytest.mark.parametrize("error", [DifyUnreachable("no"), RateLimited("later"), ClientLeftEarly("gone")])
    def test_what_cannot_have_begun_is_really_tried_again(
        self, stand: Stand, attempt: Attempt, error: GatewayError
    ) -> None:
        fails(stand.ask(attempt, [], error=error))

        assert whole(stand.ask(attempt)) == "Hello"

    @pytest.mark.parametrize("error", [ModelNotFound("no"), ClientLeft("before the run"), KeyError("bug")])
    def test_what_was_refused_before_it_began_is_really_tried_again(
        self, stand: Stand, error: Exception
    ) -> None:
        with pytest.raises(type(error)):
            stand.ask(FIRST, refused=error)

        assert whole(stand.ask(RETRY)) == "Hello"
        assert len(stand.runs) == 1

    @pytest.mark.parametrize("attempt", [RETRY, KEYED], ids=["SDK", "Idempotency-Key"])
    def test_a_run_that_was_stopped_because_its_client_left_is_not_run_again(
        self, stand: Stand, attempt: Attempt
    ) -> None:
        left = stand.ask(attempt)
        next(iter(left.source.read(1)))
        left.source.close()
        assert stand.runs[0].story == ["closed"]

        again = fails(stand.ask(attempt))

        assert (again.status, again.code, again.should_retry) == (499, "client_closed_request", False)
        assert len(stand.runs) == 1

    def test_closing_what_was_settled_changes_nothing(self, stand: Stand) -> None:
        answer = stand.ask(FIRST)
        whole(answer)
        answer.source.close()

        assert whole(stand.ask(RETRY)) == "Hello"


class TestStillRunning:
    def test_a_repeat_waits_for_the_first_attempt(self, stand: Stand) -> None:
        original = stand.ask(FIRST)
        repeat = stand.ask(RETRY, process=1)
        assert list(repeat.source.read(0.2)) == []
        assert not repeat.source.ended
        stand.once_while_waiting(lambda: whole(original))

        assert whole(repeat) == "Hello"
        assert (repeat.id, len(stand.runs)) == (original.id, 1)

    def test_a_repeat_fails_as_the_first_attempt_does(self, stand: Stand) -> None:
        original = stand.ask(FIRST, HELLO[:1], error=DifyRunFailed("on fire"))
        repeat = stand.ask(RETRY, process=1)
        stand.once_while_waiting(lambda: fails(original))

        assert fails(repeat).message == "on fire"

    def test_a_repeat_begins_in_the_place_of_one_that_never_did(self, stand: Stand) -> None:
        original = stand.ask(KEYED, [], error=DifyUnreachable("no"))
        repeats = [stand.ask(KEYED, process=1) for _ in range(2)]
        stand.once_while_waiting(lambda: fails(original))

        assert [whole(repeat) for repeat in repeats] == ["Hello", "Hello"]
        assert len(stand.runs) == 2
        # The client may have seen the id already.
        assert whole(again := stand.ask(KEYED)) == "Hello"
        assert again.id == original.id

    def test_a_repeat_whose_client_leaves_ends(self, stand: Stand) -> None:
        stand.ask(FIRST)
        gone: list[bool] = []
        repeat = stand.ask(RETRY, client=Client(is_gone=lambda: bool(gone)))
        assert list(repeat.source.read(0.2)) == []
        gone.append(True)

        fails(repeat, ClientLeft)

    def test_a_repeat_in_a_process_that_must_end_may_come_back(self, stand: Stand) -> None:
        original = stand.ask(FIRST)
        repeat = stand.ask(RETRY)
        assert stand.drain.open_answers == 1
        stand.once_while_waiting(stand.drain.end_now)

        assert "Retry-After" in fails(repeat, Draining).headers()
        assert stand.drain.open_answers == 0
        assert whole(original) == "Hello"
        assert whole(stand.ask(RETRY, process=1)) == "Hello"

    def test_a_repeat_does_not_stop_the_first_attempt(self, stand: Stand) -> None:
        original = stand.ask(FIRST)
        stand.ask(RETRY).source.close()

        assert whole(original) == "Hello"
        assert whole(stand.ask(RETRY)) == "Hello"

    def test_a_repeat_of_one_whose_process_died_is_refused(self, stand: Stand) -> None:
        stand.ask(FIRST)
        waiting = stand.ask(RETRY, process=1)
        began_at = stand.clock()

        refusal = fails(waiting, RepeatRefused)

        assert stand.clock() - began_at < CLAIM_SECONDS + 1
        assert (refusal.status, refusal.should_retry) == (500, False)
        stand.clock.advance(58)
        fails(stand.ask(RETRY, process=1), RepeatRefused)
        assert len(stand.runs) == 1

    def test_later_than_that_it_is_a_new_request(self, stand: Stand) -> None:
        stand.ask(FIRST)
        stand.die()
        stand.clock.advance(60)

        assert whole(stand.ask(RETRY, process=1)) == "Hello"

    def test_nobody_waits_longer_than_a_run_may_take(self, stand: Stand) -> None:
        answer = stand.ask(FIRST)
        stand.while_waiting = lambda: stand.answers.renew(
            [answer.id], now=stand.clock(), claimed_until=stand.clock() + 20, expires_at=stand.clock() + 80
        )
        waiting = stand.ask(RETRY)
        began_at = stand.clock()

        fails(waiting, RepeatRefused)

        assert stand.clock() - began_at == pytest.approx(1_800, abs=1)


class TestAStoreThatIsDown:
    def test_no_chat_fails(self, stand: Stand) -> None:
        stand.answers.is_down = True

        assert whole(stand.ask(FIRST)) == "Hello"
        assert whole(stand.ask(KEYED)) == "Hello"

    def test_one_that_goes_down_while_a_run_goes_on_does_not_break_it(self, stand: Stand) -> None:
        answer = stand.ask(FIRST)
        stand.answers.is_down = True

        assert whole(answer) == "Hello"

    def test_who_waits_is_told_in_time(self, stand: Stand) -> None:
        stand.ask(FIRST)
        repeat = stand.ask(RETRY)
        stand.answers.is_down = True

        fails(repeat, RepeatRefused)
        assert len(stand.runs) == 1

    def test_nothing_is_kept_where_that_is_switched_off(self) -> None:
        repeats = Repeats(None, KeepTimes(60, 900), patience_seconds=1)
        runs = [FakeRun(HELLO), FakeRun(HELLO)]
        asked = [Asked(KEYED, "id", "user", lambda run=run: run, NOBODY) for run in runs]  # type: ignore[misc] # A default.

        assert [whole(repeats.answer(each)) for each in asked] == ["Hello", "Hello"]
