"""Turns while their store fails: nobody notices, and no memory is mixed."""

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from opendify.conversations.identity import ClientContext
from opendify.errors import RateLimited
from opendify.stores import StoredConversation
from opendify.stores.forgiving import ForgivingStore
from opendify.turns.request import CLAIM_SECONDS
from tests.fakes.memory_store import MemoryStore
from tests.fakes.stumbling_store import stumbling
from tests.fakes.turn_stand import NOBODY_KNOWN, ClientTurn, Sender, TurnStand, in_chat, naming

CHAT = in_chat()
OPERATIONS = [
    "claim_match",
    "claim",
    "renew",
    "save",
    "release",
    "delete",
    "find_by_scope",
    "find_by_conversation_id",
]


@dataclass
class OneOutage:
    """The next call of `operation` fails, once it is armed."""

    operation: str
    is_armed: bool = False
    fired: int = 0

    def __call__(self, operation: str) -> bool:
        fails = self.is_armed and operation == self.operation
        if fails:
            self.is_armed = False
            self.fired += 1
        return fails


def continue_transcript(stand: TurnStand) -> ClientTurn:
    turn = stand.begin("Hi", "Hello", "How?", by=CHAT).accept()
    stand.clock.advance(30)
    turn.held.keep()
    return turn.answer("Fine")


def continue_window(stand: TurnStand) -> ClientTurn:
    return stand.begin("Hello", by=CHAT).accept().answer("Fine")


def continue_by_name(stand: TurnStand) -> ClientTurn:
    return stand.begin("How?", by=naming("conversation-1")).accept().answer("Fine")


def continue_by_body(stand: TurnStand) -> ClientTurn:
    context = ClientContext(chat_id="conversation-1", maybe_conversation_id="conversation-1")
    return stand.begin("How?", by=Sender(context)).accept().answer("Fine")


def be_refused(stand: TurnStand) -> ClientTurn:
    turn = stand.begin("Hi", "Hello", "How?", by=CHAT)
    turn.held.abandon(may_have_begun=False)
    return turn


def break_off(stand: TurnStand) -> ClientTurn:
    return stand.begin("Hi", "Hello", "How?", by=CHAT).accept().break_off("Fi")


def find_it_gone(stand: TurnStand) -> ClientTurn:
    stand.memory.pop("conversation-1")
    return stand.begin("Hi", "Hello", "How?", by=CHAT).accept().answer("Fine")


SECOND_TURNS = [
    continue_transcript,
    continue_window,
    continue_by_name,
    continue_by_body,
    be_refused,
    break_off,
    find_it_gone,
]


@pytest.mark.parametrize("second_turn", SECOND_TURNS, ids=lambda turn: turn.__name__)
@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_store_that_fails_once_is_noticed_by_nobody_and_mixes_nothing(
    operation: str, second_turn: Callable[[TurnStand], ClientTurn]
) -> None:
    outage = OneOutage(operation)
    stand = TurnStand(stumbling(MemoryStore(), outage))
    stand.say("Hi", answer="Hello", by=CHAT)

    outage.is_armed = True
    second_turn(stand)
    outage.is_armed = False

    assert stand.forgiving.failures == outage.fired
    for seconds in (0, CLAIM_SECONDS + 1):
        stand.clock.advance(seconds)
        for texts in (
            ["Hi", "Hello", "How?"],
            ["Hi", "Hello", "How?", "Fine", "Why?"],
            ["Hi", "Hello", "How?", "Fi", "Why?"],
        ):
            turn = stand.begin(*texts, by=CHAT).accept()
            assert turn.sees == texts, f"{seconds} s later"
            turn.answer("Well")


def test_a_store_that_is_down_all_the_time_costs_replay() -> None:
    store = MemoryStore(is_down=True)
    stand = TurnStand(store)
    texts = ["Hi"]

    for number in range(3):
        turn = stand.say(*texts, answer=f"answer {number}", by=CHAT)
        assert turn.sees == texts
        texts += [f"answer {number}", "Go on"]
    named = stand.say("Really?", answer="Yes", by=naming(turn.conversation_id))

    assert named.sees == [*texts[:-1], "Really?"]
    assert stand.forgiving.failures > 0
    store.is_down = False
    assert list(store.all()) == []


def test_what_is_too_old_and_too_much_are_forgotten_apart() -> None:
    asked: list[str] = []

    def fails(operation: str) -> bool:
        asked.append(operation)
        return operation == "delete_older_than"

    store = ForgivingStore(stumbling(MemoryStore(), fails))
    store.clean_up(updated_before=0, most=10)

    assert asked == ["delete_older_than", "delete_beyond"]
    assert store.failures == 1


def test_another_turn_s_outage_does_not_let_two_into_one_named_conversation() -> None:
    stand: TurnStand

    class StoreOfManyThreads(MemoryStore):
        def claim(self, id: str, *, claim: str, now: float, until: float) -> StoredConversation | None:  # noqa: A002 - As the Protocol has it.
            stand.forgiving.failures += 1
            return super().claim(id, claim=claim, now=now, until=until)

    stand = TurnStand(StoreOfManyThreads())
    first = stand.say("Hi", answer="Hello", by=CHAT)
    stand.begin("How?", by=CHAT)

    with pytest.raises(RateLimited):
        stand.begin("Who?", by=naming(first.conversation_id))


# Any walk of a client through its transcripts


@dataclass
class Walk:
    """A client with several tabs; `transcripts` are those that it may show next, ends of answers all."""

    by: Sender
    outages: list[bool]
    transcripts: list[list[str]] = field(default_factory=lambda: [[]])
    running: list[tuple[ClientTurn, list[str]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.stand = TurnStand(
            stumbling(MemoryStore(), lambda _: self.outages.pop() if self.outages else False)
        )

    def begin(self, which: int, question: str) -> None:
        self.stand.clock.advance(2)
        texts = [*self.transcripts[which % len(self.transcripts)], question]
        turn = self.stand.begin(*texts, by=self.by)
        self.running.append((turn.accept(), texts))
        assert turn.sees == texts

    def end(self, which: int, answer: str, how: str) -> None:
        if not self.running:
            return
        turn, texts = self.running.pop(which % len(self.running))
        if how == "answered":
            turn.answer(answer)
            self.transcripts.append([*texts, answer])
        elif how == "broken off":
            turn.break_off(answer[:1])
            self.transcripts.append([*texts, answer[:1]])
        # Else its worker died.

    def wait(self, seconds: int) -> None:
        for _ in range(0, seconds, 10):
            self.stand.clock.advance(10)
            for turn, _ in self.running:
                turn.held.keep()

    def forget(self, which: int) -> None:
        """Somebody deletes a conversation at Dify, while nothing runs in it."""
        busy = {turn.conversation_id for turn, _ in self.running}
        idle = [each for each in self.stand.memory if each not in busy]
        if idle:
            del self.stand.memory[idle[which % len(idle)]]


_SMALL = st.integers(0, 3)
_STEPS = st.one_of(
    st.tuples(st.just("begin"), _SMALL, st.sampled_from(["q", "r"])),
    st.tuples(st.just("begin"), _SMALL, st.sampled_from(["q", "r"])),
    st.tuples(st.just("end"), _SMALL, st.sampled_from(["answered", "answered", "broken off", "died"])),
    st.tuples(st.just("wait"), st.sampled_from([0, 30, 90]), st.just("")),
    st.tuples(st.just("forget"), _SMALL, st.just("")),
)


@settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.sampled_from([NOBODY_KNOWN, in_chat(whole=True)]),
    st.lists(_STEPS, min_size=10, max_size=30),
    st.lists(st.sampled_from([False, False, False, True]), max_size=40),
)
def test_the_model_always_sees_exactly_what_the_client_shows(
    by: Sender, steps: list[tuple[str, int, str]], outages: list[bool]
) -> None:
    walk = Walk(by, outages)
    for number, (step, which, what) in enumerate(steps):
        match step:
            case "begin":
                walk.begin(which, what)
            case "end":
                walk.end(which, f"x{number % 3}", what)
            case "wait":
                walk.wait(which)
            case _:
                walk.forget(which)
