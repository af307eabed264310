"""What is PostgreSQL's alone: its schema, its migrations, its rights."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import psycopg
import pytest

from opendify.stores import SchemaTooNew, StoreUnavailable
from opendify.stores.migrations.postgres import STEPS
from opendify.stores.postgres import PostgresStore
from tests.stores.conftest import emptied_url
from tests.stores.conversations import conversation
from tests.stores.servers import Server

NEXT_STEP = ("ALTER TABLE opendify.conversations ADD COLUMN mood text NOT NULL DEFAULT 'calm'",)
BROKEN_STEP = ("UPDATE opendify.conversations SET turns = 99", "ALTER TABLE nowhere ADD COLUMN mood text")


@pytest.fixture
def url(servers: dict[str, Server]) -> str:
    return emptied_url("postgresql", servers)


@pytest.fixture
def store(url: str) -> Iterator[PostgresStore]:
    with closing(PostgresStore(url)) as store:
        store.save(conversation("id", turns=3), claim="a")
        yield store


def test_an_older_schema_is_migrated(url: str, store: PostgresStore) -> None:
    with closing(PostgresStore(url, (*STEPS, NEXT_STEP))) as new:
        assert new.find("id") == conversation("id", turns=3)
        assert new.about()["schema_version"] == len(STEPS) + 1

    assert store.claim("id", claim="a", now=0, until=1)
    assert store.save(conversation("id", turns=4), claim="a")


def test_a_step_that_fails_leaves_the_schema_as_it_was(url: str, store: PostgresStore) -> None:
    with (
        closing(PostgresStore(url, (*STEPS, NEXT_STEP, BROKEN_STEP))) as new,
        pytest.raises(StoreUnavailable, match="nowhere"),
    ):
        new.ping()

    assert store.find("id") == conversation("id", turns=3)
    assert store.about()["schema_version"] == len(STEPS)


def test_a_schema_of_a_later_release_is_refused(url: str, store: PostgresStore) -> None:
    with closing(PostgresStore(url, (*STEPS, NEXT_STEP))) as new:
        new.ping()

    with closing(PostgresStore(url)) as old, pytest.raises(SchemaTooNew, match="backup"):
        old.ping()


def test_stores_that_start_at_once_migrate_once(url: str) -> None:
    stores = [PostgresStore(url) for _ in range(9)]

    with ThreadPoolExecutor(len(stores)) as threads:
        counts = list(threads.map(lambda store: store.statistics().conversations, stores))
    for store in stores:
        store.close()

    assert counts == [0] * len(stores)


def test_a_schema_that_vanished_is_made_again(url: str, store: PostgresStore) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SET client_min_messages = warning")
        connection.execute("DROP SCHEMA opendify CASCADE")

    with pytest.raises(StoreUnavailable):
        store.ping()
    assert store.find("id") is None


def test_connections_that_the_server_closed_are_not_used(url: str, store: PostgresStore) -> None:
    # Their processes have ended, not only been told to, before the store asks.
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid, 20000) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
            " AND backend_type = 'client backend'"
        )

    assert store.find("id") == conversation("id", turns=3)


def test_more_threads_than_connections_all_get_their_turn(store: PostgresStore) -> None:
    with ThreadPoolExecutor(64) as threads:
        found = list(threads.map(lambda _: store.find("id"), range(640)))

    assert found == [conversation("id", turns=3)] * 640
