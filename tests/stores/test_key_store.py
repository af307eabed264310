"""What a store of keys does, whichever back end it has."""

import multiprocessing
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from opendify.stores import StoreUnavailable
from opendify.stores.keys import KeyStore, StoredKey
from opendify.stores.opening import open_key_store
from tests.fakes.memory_keys import MemoryKeys, made_key
from tests.stores.conftest import SHARED, emptied_url
from tests.stores.servers import Server, free_port

NOW = 1_000_000.0


@pytest.fixture(params=(*SHARED, "memory"))
def store(request: pytest.FixtureRequest, servers: dict[str, Server], tmp_path: Path) -> Iterator[KeyStore]:
    if request.param == "memory":
        yield MemoryKeys()
        return
    url = emptied_url(request.param, servers).replace("conversations.db", "keys.db")
    with closing(open_key_store(url, tmp_path / "data")) as opened:
        yield opened


def full_key() -> StoredKey:
    """One with something in every field."""
    _, key = made_key(
        old_digest=b"\x00\xff" * 16,
        old_until=NOW + 0.125,
        models=("gpt-*", "模型", 'a"b'),
        addresses=("10.0.0.0/8", "2001:db8::/32"),
        is_admin=True,
        requests_per_minute=60,
        tokens_per_minute=1_000_000_000,
        concurrency=3,
        default_user="анна",
        created_at=NOW,
        expires_at=NOW + 1.5,
        revoked_at=NOW + 2.5,
        last_used_at=NOW + 3.5,
    )
    return key


def test_a_key_is_found_as_it_was_added(store: KeyStore) -> None:
    key = full_key()

    assert store.find(key.id) is None
    assert store.add(key)
    assert store.find(key.id) == key


def test_an_id_is_given_once(store: KeyStore) -> None:
    _, first = made_key(name="first")
    _, second = made_key(name="second")

    assert store.add(first)
    assert not store.add(second)
    assert store.find(first.id) == first


def test_a_change_needs_the_newest_state(store: KeyStore) -> None:
    _, key = made_key()
    store.add(key)
    revoked = replace(key, revoked_at=NOW)

    assert store.replace(key, revoked)
    assert not store.replace(key, replace(key, name="late"))
    assert store.find(key.id) == revoked
    assert not store.replace(made_key("ffffffffffff")[1], revoked)


def test_a_use_is_no_change_and_never_goes_back(store: KeyStore) -> None:
    _, key = made_key()
    store.add(key)

    store.note_use(key.id, NOW)
    store.note_use(key.id, NOW - 1)
    store.note_use("ffffffffffff", NOW)
    assert store.find(key.id) == replace(key, last_used_at=NOW)
    assert store.replace(key, replace(key, name="other"))
    found = store.find(key.id)
    assert found
    assert (found.name, found.last_used_at) == ("other", NOW)
    assert store.find("ffffffffffff") is None


def test_all_keys_come_in_the_order_of_their_making(store: KeyStore) -> None:
    assert list(store.all()) == []
    ids = [f"{number * 7919 % 4096:012x}" for number in range(30)]
    for each in ids:
        assert store.add(made_key(each)[1])

    assert [key.id for key in store.all()] == ids


def test_more_keys_than_one_piece_are_all_read(servers: dict[str, Server], tmp_path: Path) -> None:
    with closing(open_key_store(emptied_url("redis", servers), tmp_path)) as store:
        for number in range(1_001):
            store.add(made_key(f"{number:012x}")[1])

        assert [int(key.id, 16) for key in store.all()] == list(range(1_001))


def _rotate(url: str, folder: Path, name: str, key: StoredKey, won: "multiprocessing.Queue[bool]") -> None:
    with closing(open_key_store(url, folder)) as store:
        won.put(store.replace(key, replace(key, name=name)))


@pytest.mark.parametrize("kind", SHARED)
def test_of_two_who_change_a_key_at_once_one_does(
    kind: str, servers: dict[str, Server], tmp_path: Path
) -> None:
    url = emptied_url(kind, servers).replace("conversations.db", "keys.db")
    _, key = made_key()
    with closing(open_key_store(url, tmp_path / "data")) as store:
        store.add(key)
        spawn = multiprocessing.get_context("fork")
        won: multiprocessing.Queue[bool] = spawn.Queue()
        writers = [
            spawn.Process(target=_rotate, args=(url, tmp_path / "data", name, key, won)) for name in "ab"
        ]
        for writer in writers:
            writer.start()
        results = sorted(won.get(timeout=60) for _ in writers)
        for writer in writers:
            writer.join(60)

    assert results == [False, True]


@pytest.mark.parametrize("scheme", ["redis", "postgresql"])
def test_a_store_that_is_away_says_so(scheme: str, tmp_path: Path) -> None:
    with closing(open_key_store(f"{scheme}://127.0.0.1:{free_port()}/0", tmp_path)) as store:
        with pytest.raises(StoreUnavailable):
            store.find("0123456789ab")
        with pytest.raises(StoreUnavailable):
            store.add(made_key()[1])


def test_who_stores_no_keys_has_no_file(tmp_path: Path) -> None:
    with closing(open_key_store("sqlite:///data/keys.db", tmp_path / "data")) as store:
        assert store.find("0123456789ab") is None
        assert list(store.all()) == []
        assert not (tmp_path / "data").exists()
        store.add(made_key()[1])

    assert stat.S_IMODE((tmp_path / "data/keys.db").stat().st_mode) == 0o600


def test_a_broken_row_is_no_key(tmp_path: Path) -> None:
    with closing(open_key_store("sqlite:///data/keys.db", tmp_path / "data")) as store:
        store.add(made_key()[1])
        with closing(sqlite3.connect(tmp_path / "data/keys.db")) as connection:
            connection.execute("UPDATE keys SET body = '{\"name\": 1}'")
            connection.commit()
        with pytest.raises(StoreUnavailable):
            store.find("0123456789ab")


def test_nothing_of_a_key_but_its_digest_is_kept(tmp_path: Path) -> None:
    text, key = made_key()
    with closing(open_key_store("sqlite:///data/keys.db", tmp_path / "data")) as store:
        store.add(key)
    secret = text.rpartition(f"{key.id}-")[2].encode()

    assert not any(secret in file.read_bytes() for file in (tmp_path / "data").iterdir())
    assert secret.decode() not in repr(key)
    assert "digest" not in repr(key)
