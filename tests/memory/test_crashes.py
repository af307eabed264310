"""Power cuts in mid-traffic: no finished turn is lost, and none is mixed up."""

import itertools
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import httpx
import pytest

from tests.fakes.waiting import wait_until
from tests.memory.chats import Answer, Chatter, Message, assistant, user
from tests.memory.servers import STORES, WORKERS, Stand, opened_stand

CHATS = 4
RECOVERY_SECONDS = 30.0


@dataclass
class Talk:
    """A chat that goes on and on. `finished` is what its client was given whole."""

    chatter: Chatter
    finished: list[Message] = field(default_factory=list)
    failures: int = 0
    conversation_ids: list[str] = field(default_factory=list)

    def go_on(self, question: str) -> Answer | None:
        """One more turn; None where the server was not to be reached."""
        asked = user(question)
        answer = None
        with suppress(httpx.TransportError):
            answer = self.chatter.ask(*self.finished, asked)
        if answer is None or not answer.finished:
            self.failures += 1
            return answer
        self.finished += [asked, assistant(answer.text)]
        self.conversation_ids.append(answer.conversation_id)
        return answer


@contextmanager
def traffic(stand: Stand, *, rate: str = "") -> Iterator[list[Talk]]:
    """Chats that go on in the background until the block ends; each turn is finished or failed then."""
    talks = [Talk(stand.chatter(headers={"X-Chat-Id": "one"} if n % 2 else {})) for n in range(CHATS)]
    over = threading.Event()

    def keep_talking(talk: Talk) -> None:
        for number in itertools.count(2):
            if over.is_set():
                return
            talk.go_on(f"Turn {number} {rate} LONG:{2 + number % 30}")
            # Somebody reads the answer; and a server that is away is not asked in a tight loop.
            over.wait(0.05)

    threads = [threading.Thread(target=keep_talking, args=(talk,)) for talk in talks]
    for thread in threads:
        thread.start()
    try:
        yield talks
    finally:
        over.set()
        for thread in threads:
            thread.join(RECOVERY_SECONDS)


def await_turns(talks: list[Talk], turns: int) -> None:
    """Wait until each chat has so many more."""
    wanted = [len(talk.finished) + 2 * turns for talk in talks]

    def all_went_on() -> bool:
        return all(len(talk.finished) >= want for talk, want in zip(talks, wanted, strict=True))

    assert wait_until(all_went_on, RECOVERY_SECONDS), [(len(talk.finished), talk.failures) for talk in talks]


def assert_all_remember(talks: list[Talk], *, at_once: bool = True) -> None:
    """Every chat goes on from all its finished turns, and from nothing else.

    Args:
        at_once: Whether it must stay in its conversation then.
    """
    for talk in talks:
        before = list(talk.finished)
        first = talk.go_on(question := "MEMORY what was said?")
        second = talk.go_on("What now LONG:3")
        assert first
        assert first.finished
        assert first.memory == [*before, user(question)]
        assert second
        assert second.finished
        assert not at_once or second.conversation_id == first.conversation_id


@pytest.fixture(params=STORES)
def own_stand(request: pytest.FixtureRequest) -> Iterator[Stand]:
    """A service that the test may break."""
    with opened_stand(request.param) as stand:
        yield stand


def test_workers_that_are_killed_lose_no_finished_turn(own_stand: Stand) -> None:
    with traffic(own_stand, rate="RATE:200") as talks:
        for _ in range(4):
            await_turns(talks, 2)
            own_stand.server.workers()[0].kill()
        await_turns(talks, 2)

    assert_all_remember(talks)


def test_a_server_that_is_killed_loses_no_finished_turn(own_stand: Stand) -> None:
    with traffic(own_stand, rate="RATE:200") as talks:
        for _ in range(2):
            await_turns(talks, 3)
            own_stand.server.kill()
            own_stand.server.start()
        await_turns(talks, 3)

    assert sum(talk.failures for talk in talks) > 0
    assert_all_remember(talks)


def test_a_conversation_whose_turn_died_is_never_taken_for_what_it_was_before(own_stand: Stand) -> None:
    talk = Talk(own_stand.chatter())
    talk.go_on("My name is Ada LONG:3")
    (conversation_id,) = talk.conversation_ids

    with talk.chatter.asking(*talk.finished, user("Count RATE:20 LONG:200")) as answering:
        assert answering.next_piece()
        own_stand.server.kill()
    own_stand.server.start()
    let_claims_run_out(own_stand, conversation_id)
    answer = talk.chatter.ask(*talk.finished, user("MEMORY Who am I?"))

    assert answer.memory == [*talk.finished, user("MEMORY Who am I?")]


def let_claims_run_out(stand: Stand, conversation_id: str) -> None:
    """As a minute of waiting would: what is held longer than a claim lasts was left by the dead."""
    with stand.store() as store:
        (known,) = [each for each in store.recent(10) if each.conversation_id == conversation_id]
        later = time.time() + 3_600
        assert store.claim(known.id, claim="later", now=later, until=later)
        store.release(known.id, claim="later")


@pytest.mark.parametrize("outage", ["killed", "frozen"])
@pytest.mark.parametrize("own_stand", ["redis", "postgresql"], indirect=True)
def test_chats_go_on_while_their_store_is_away(own_stand: Stand, outage: str) -> None:
    store = own_stand.store_server
    assert store
    begin, end = {"killed": (store.kill, store.start), "frozen": (store.freeze, store.thaw)}[outage]
    with traffic(own_stand) as talks:
        await_turns(talks, 2)
        begin()
        await_turns(talks, 2)
        end()
        await_turns(talks, 2)

    assert [talk.failures for talk in talks] == [0] * CHATS
    # Each worker notices for itself that the store is back; until then it replays.
    assert_all_remember(talks, at_once=False)
    assert wait_until(lambda: goes_on_with_all_workers(own_stand), RECOVERY_SECONDS)
    assert_all_remember(talks)


def goes_on_with_all_workers(stand: Stand) -> bool:
    """Whether a new chat stays in its conversation, whichever worker is asked."""
    talk = Talk(stand.chatter())
    for number in range(3 * WORKERS):
        talk.go_on(f"Turn {number} LONG:{number + 2}")
    return len(set(talk.conversation_ids)) == 1
