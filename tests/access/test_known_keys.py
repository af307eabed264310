"""How long what is known of a stored key may be old, and what a store that is down means."""

from dataclasses import replace

import pytest

from opendify.access.key_format import id_of, key_digest, new_key
from opendify.access.known_keys import FRESH_SECONDS, KnownKeys
from opendify.errors import AccessUnknown
from opendify.stores.keys import StoredKey
from tests.fakes.clocks import FakeClock
from tests.fakes.memory_keys import MemoryKeys, made_key
from tests.fakes.metrics_page import Counted

NOW = 1_700_000_000.0


class Stand:
    def __init__(self, **rights: object) -> None:
        self.clock, self.now, self.store = FakeClock(), FakeClock(NOW), MemoryKeys()
        self.text, key = made_key(**rights)  # type: ignore[arg-type] # By name.
        self.store.add(key)
        self.keys = KnownKeys(self.store, clock=self.clock, now=self.now, most_known=3)

    @property
    def stored(self) -> StoredKey:
        return self.store.keys["0123456789ab"]

    def change(self, **changes: object) -> None:
        self.store.keys["0123456789ab"] = replace(self.stored, **changes)  # type: ignore[arg-type] # By name.


def test_a_key_is_found_by_the_id_in_it_and_proved_by_its_secret() -> None:
    stand = Stand(models=("a*",), default_user="anna")

    known = stand.keys.find(stand.text)

    assert known
    assert known.caller.id == "caller-0123456789ab"
    assert known.caller.may_use("abc")
    assert not known.caller.may_use("b")
    for wrong in (
        stand.text[:-1] + "!",
        new_key("0123456789ab"),
        stand.text.upper(),
        stand.text + "x",
        "sk-od-",
    ):
        assert stand.keys.find(wrong) is None


def test_the_store_is_asked_once_for_many_requests() -> None:
    stand = Stand()
    for _ in range(100):
        assert stand.keys.find(stand.text)
    assert stand.store.reads == 1
    stand.clock.advance(FRESH_SECONDS)
    for _ in range(100):
        assert stand.keys.find(stand.text)
    assert stand.store.reads == 2


def test_a_revocation_is_known_within_seconds() -> None:
    stand = Stand()
    stand.keys.find(stand.text)
    stand.change(revoked_at=NOW)
    stand.clock.advance(FRESH_SECONDS)

    known = stand.keys.find(stand.text)

    assert known
    assert known.stored.revoked_at == NOW


def test_a_rotation_leaves_the_former_key_good_for_as_long_as_it_says() -> None:
    stand = Stand()
    newer = new_key("0123456789ab")
    stand.change(digest=key_digest(newer), old_digest=stand.stored.digest, old_until=NOW + 60)

    assert stand.keys.find(newer)
    assert stand.keys.find(stand.text)
    stand.now.advance(60)
    assert stand.keys.find(newer)
    assert stand.keys.find(stand.text) is None


def test_a_key_without_a_former_one_is_not_opened_by_nothing() -> None:
    stand = Stand()
    stand.change(digest=b"", old_digest=b"", old_until=NOW + 60)

    assert stand.keys.find(stand.text) is None


def test_while_the_store_is_down_those_who_were_known_go_on_and_others_do_not() -> None:
    stand, failures = Stand(), Counted("opendify_store_errors_total", store="keys")
    stand.keys.find(stand.text)
    stand.store.is_down = True
    stand.clock.advance(86_400)

    assert stand.keys.find(stand.text)
    with pytest.raises(AccessUnknown):
        stand.keys.find(new_key("ffffffffffff"))
    reads = stand.store.reads
    for _ in range(100):
        assert stand.keys.find(stand.text)
    assert stand.store.reads == reads, "a store that is down is left alone for a moment"
    assert (stand.keys.failures, failures.more) == (1, 1)


def test_a_store_that_is_back_is_asked_again() -> None:
    stand = Stand()
    stand.keys.find(stand.text)
    stand.store.is_down = True
    stand.clock.advance(10)
    stand.keys.find(stand.text)
    stand.store.is_down = False
    stand.change(revoked_at=NOW)
    stand.clock.advance(FRESH_SECONDS)

    known = stand.keys.find(stand.text)

    assert known
    assert known.stored.revoked_at


def test_strangers_do_not_push_out_those_who_are_known() -> None:
    stand = Stand()
    stand.keys.find(stand.text)
    for number in range(5_000):
        assert stand.keys.find(f"stranger-{number}") is None
    stand.store.is_down = True

    assert stand.keys.find(stand.text)


def test_only_so_many_are_remembered() -> None:
    stand = Stand()
    texts = [stand.text]
    for number in range(5):
        text, key = made_key(f"{number:012x}")
        stand.store.add(key)
        texts.append(text)
    for text in texts:
        assert stand.keys.find(text)
    stand.store.is_down = True

    def is_known(text: str) -> bool:
        try:
            return stand.keys.find(text) is not None
        except AccessUnknown:
            return False

    assert [is_known(text) for text in texts] == [False, False, False, True, True, True]


def test_a_key_that_was_made_elsewhere_is_found_by_its_digest() -> None:
    stand = Stand()
    text = "sk-from-somewhere-else"
    stand.store.add(StoredKey(id=id_of(text), caller="old", name="old", digest=key_digest(text)))

    known = stand.keys.find(text)

    assert known
    assert known.caller.id == "old"


def test_a_new_key_is_let_in_soon() -> None:
    stand = Stand()
    text, key = made_key("aaaaaaaaaaaa")
    assert stand.keys.find(text) is None
    stand.store.add(key)
    stand.clock.advance(FRESH_SECONDS)

    assert stand.keys.find(text)


def test_the_last_use_is_noted_now_and_then() -> None:
    stand = Stand()
    for seconds in range(0, 1_200, 10):
        stand.now.now = NOW + seconds
        known = stand.keys.find(stand.text)
        assert known
        stand.keys.note_use(known)
    assert stand.stored.last_used_at == NOW + 900
