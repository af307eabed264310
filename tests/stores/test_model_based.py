"""Random histories, each told to a store and to a dict: both must answer alike."""

# ruff: noqa: A002 - an id is `id`, as in the stores.

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from opendify.stores import ConversationStore, StoredConversation
from tests.fakes.memory_store import MemoryStore
from tests.stores.conversations import conversation

IDS = st.sampled_from(["one", "two", "三"])
KEYS = st.sampled_from(["", "key", "other key"])
CLAIMS = st.sampled_from(["a", "b"])
NAMES = st.sampled_from(["", "x", "ÿ"])


class Histories(RuleBasedStateMachine):
    """Time passes with every step, so that no two conversations are equally new."""

    store: ConversationStore

    def __init__(self) -> None:
        super().__init__()
        self.store.delete_beyond(0)
        self.model = MemoryStore()
        self.now = 0.0

    def later(self) -> float:
        self.now += 1
        return self.now

    @rule(
        id=IDS, key=KEYS, claim=CLAIMS, name=NAMES, turns=st.integers(0, 2**40), recent=st.binary(max_size=16)
    )
    def save(self, id: str, key: str, claim: str, name: str, turns: int, recent: bytes) -> None:
        row = conversation(
            id,
            match_key=key,
            scope=name,
            user=name,
            caller=key,
            model=name,
            conversation_id=name,
            turns=turns,
            updated_at=self.later(),
        )
        assert self.store.save(row, claim=claim) == self.model.save(row, claim=claim)

    @rule(id=IDS, claim=CLAIMS, seconds=st.integers(1, 5))
    def claim(self, id: str, claim: str, seconds: int) -> None:
        now = self.later()
        claimed = self.store.claim(id, claim=claim, now=now, until=now + seconds)
        assert claimed == self.model.claim(id, claim=claim, now=now, until=now + seconds)

    @rule(key=KEYS, claim=CLAIMS, seconds=st.integers(1, 5))
    def claim_match(self, key: str, claim: str, seconds: int) -> None:
        now = self.later()
        assert self.store.claim_match(key, claim=claim, until=now + seconds) == self.model.claim_match(
            key, claim=claim, until=now + seconds
        )

    @rule(id=IDS, claim=CLAIMS, seconds=st.integers(1, 5))
    def renew(self, id: str, claim: str, seconds: int) -> None:
        until = self.later() + seconds
        assert self.store.renew(id, claim=claim, until=until) == self.model.renew(
            id, claim=claim, until=until
        )

    @rule(id=IDS, claim=CLAIMS)
    def release(self, id: str, claim: str) -> None:
        self.store.release(id, claim=claim)
        self.model.release(id, claim=claim)

    @rule(id=IDS)
    def delete(self, id: str) -> None:
        assert self.store.delete(id) == self.model.delete(id)

    @rule(age=st.integers(0, 9))
    def delete_older(self, age: int) -> None:
        before = self.later() - age
        assert self.store.delete_older_than(before) == self.model.delete_older_than(before)

    @rule(most=st.integers(0, 3))
    def delete_beyond(self, most: int) -> None:
        assert self.store.delete_beyond(most) == self.model.delete_beyond(most)

    @rule(name=NAMES, key=KEYS, limit=st.integers(0, 4))
    def find(self, name: str, key: str, limit: int) -> None:
        assert self.store.find_by_scope(name, limit) == self.model.find_by_scope(name, limit)
        assert self.store.find_by_conversation_id(key, name) == self.model.find_by_conversation_id(key, name)
        assert self.store.of_user(name, key) == self.model.of_user(name, key)
        assert self.store.of_user(name, None) == self.model.of_user(name, None)
        assert self.store.recent(limit) == self.model.recent(limit)

    @invariant()
    def both_hold_the_same(self) -> None:
        assert held(self.store) == held(self.model)
        assert self.store.statistics() == self.model.statistics()


def held(store: ConversationStore) -> list[StoredConversation]:
    return list(store.all())


def test_every_history_ends_as_it_does_in_a_dict(shared_store: ConversationStore) -> None:
    class OfThisStore(Histories):
        store = shared_store

    run_state_machine_as_test(
        OfThisStore,
        settings=settings(
            max_examples=30,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
