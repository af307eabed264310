"""Stores whose server is away for a while."""

import re
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from threading import Event
from time import monotonic

import pytest

from opendify.stores import ConversationStore, StoreUnavailable, open_store
from opendify.stores.keys import KeyStore
from opendify.stores.opening import open_key_store
from tests.stores.conversations import conversation
from tests.stores.servers import Server, free_port, postgres_server, redis_server

QUICK_SECONDS = 8.0
RECOVERY_SECONDS = 20.0

CALLS: dict[str, Callable[[ConversationStore], object]] = {
    "claim_match": lambda store: store.claim_match("key", claim="a", until=1),
    "claim": lambda store: store.claim("id", claim="a", now=0, until=1),
    "renew": lambda store: store.renew("id", claim="a", until=1),
    "save": lambda store: store.save(conversation("id"), claim="a"),
    "release": lambda store: store.release("id", claim="a"),
    "find_by_scope": lambda store: store.find_by_scope("scope", 1),
    "find_by_conversation_id": lambda store: store.find_by_conversation_id("caller", "id"),
    "find": lambda store: store.find("id"),
    "recent": lambda store: store.recent(1),
    "of_user": lambda store: store.of_user("user", None),
    "all": lambda store: list(store.all()),
    "delete": lambda store: store.delete("id"),
    "delete_older_than": lambda store: store.delete_older_than(1),
    "delete_beyond": lambda store: store.delete_beyond(1),
    "statistics": lambda store: store.statistics(),
    "about": lambda store: store.about(),
    "optimize": lambda store: store.optimize(),
    "ping": lambda store: store.ping(),
}


@pytest.fixture(scope="module", params=["redis", "postgresql"])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    with {"redis": redis_server, "postgresql": postgres_server}[request.param]() as running:
        yield running


@pytest.fixture
def store(server: Server, tmp_path: Path) -> Iterator[ConversationStore]:
    store = open_store(server.url, tmp_path)
    yield store
    store.close()


def assert_quickly_unavailable(call: Callable[[], object]) -> None:
    started = monotonic()
    with pytest.raises(StoreUnavailable) as caught:
        call()
    assert monotonic() - started < QUICK_SECONDS
    assert caught.value.__cause__ is not None


def assert_recovers(store: ConversationStore) -> None:
    deadline = monotonic() + RECOVERY_SECONDS
    while True:
        try:
            store.ping()
        except StoreUnavailable:
            assert monotonic() < deadline
            Event().wait(0.05)
        else:
            break
    store.save(conversation("afterwards"), claim="a")
    assert store.find("afterwards") == conversation("afterwards")


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
@pytest.mark.parametrize("scheme", ["redis", "postgresql"])
def test_every_call_to_a_missing_server_fails_as_unavailable(
    call: Callable[[ConversationStore], object], scheme: str, tmp_path: Path
) -> None:
    with closing(open_store(f"{scheme}://127.0.0.1:{free_port()}/0", tmp_path)) as store:
        assert_quickly_unavailable(lambda: call(store))


def test_a_missing_server_does_not_hold_up_every_thread(tmp_path: Path) -> None:
    with closing(open_store(f"postgresql://127.0.0.1:{free_port()}/0", tmp_path)) as store:
        assert_quickly_unavailable(store.ping)

        started = monotonic()
        for _ in range(5):
            assert_quickly_unavailable(store.ping)
        assert monotonic() - started < 0.5


def test_a_killed_server_is_unavailable_and_found_again(server: Server, store: ConversationStore) -> None:
    store.ping()

    server.kill()
    for _ in range(3):
        assert_quickly_unavailable(store.ping)
        assert_quickly_unavailable(lambda: store.claim("id", claim="a", now=0, until=1))
    server.start()

    assert_recovers(store)


def test_a_server_that_restarts_between_two_calls_is_not_missed(
    server: Server, store: ConversationStore
) -> None:
    store.ping()

    server.kill()
    server.start()

    store.ping()
    assert store.save(conversation("restarted"), claim="a") or store.find("restarted")


def test_a_frozen_server_is_unavailable_and_found_again(server: Server, store: ConversationStore) -> None:
    store.ping()

    server.freeze()
    try:
        for _ in range(3):
            assert_quickly_unavailable(lambda: store.find("id"))
            assert_quickly_unavailable(lambda: store.save(conversation("frozen"), claim="a"))
    finally:
        server.thaw()

    assert_recovers(store)


def test_what_one_store_waited_for_in_vain_no_other_waits_for(
    server: Server, store: ConversationStore, tmp_path: Path
) -> None:
    with closing(open_key_store(server.url, tmp_path)) as keys:
        store.ping()
        keys.find("id")

        server.freeze()
        try:
            # More than once, since a busy machine may take longer from one to the other.
            assert any(is_refused_at_once(store, keys) for _ in range(5))
        finally:
            server.thaw()

    assert_recovers(store)


def is_refused_at_once(first: ConversationStore, second: KeyStore) -> bool:
    assert_quickly_unavailable(first.ping)
    with pytest.raises(StoreUnavailable) as caught:
        second.find("id")
    return "did not answer a moment ago" in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "redis://name:secret@127.0.0.1:1/0",
        "redis+sentinel://name:secret@127.0.0.1:1,127.0.0.1:2/master/0",
        "redis+cluster://name:secret@127.0.0.1:1",
        "postgresql://name:secret@127.0.0.1:1/database",
    ],
    ids=lambda url: re.split("://", url)[0],
)
def test_opening_contacts_nothing_and_errors_show_no_password(url: str, tmp_path: Path) -> None:
    store = open_store(url, tmp_path)

    with pytest.raises(StoreUnavailable) as caught:
        store.ping()
    assert "secret" not in str(caught.value)
    store.close()
