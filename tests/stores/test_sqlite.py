"""What is SQLite's alone: its file, its schema and its disk."""

import os
import resource
import sqlite3
import stat
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from opendify.stores import SchemaTooNew, StoreUnavailable
from opendify.stores.migrations.sqlite import STEPS
from opendify.stores.rows import COLUMNS, write_row
from opendify.stores.sqlite import SQLiteStore
from opendify.stores.sqlite_file import SQLiteFile
from tests.fakes.clocks import FakeClock
from tests.stores.conversations import conversation

NEXT_STEP = ("ALTER TABLE conversations ADD COLUMN mood TEXT NOT NULL DEFAULT 'calm'",)
BROKEN_STEP = ("UPDATE conversations SET turns = 99", "ALTER TABLE nowhere ADD COLUMN mood TEXT")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "conversations.db"


@contextmanager
def opened(path: Path, steps: Sequence[Sequence[str]] = STEPS) -> Iterator[SQLiteStore]:
    with closing(SQLiteStore(path, steps)) as store:
        yield store


def query(path: Path, statement: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(statement).fetchall()


@contextmanager
def a_file_of_the_first_release(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection of that release, to a file with one conversation."""
    with closing(SQLiteFile(path, STEPS, 1.0, time.monotonic)) as file, file.reading() as connection:
        assert "user" in index_names(path)
        values = (*write_row(conversation("id")),)
        places = ", ".join("?" for _ in COLUMNS)
        connection.execute(f"INSERT INTO conversations ({', '.join(COLUMNS)}) VALUES ({places})", values)  # noqa: S608
        yield connection


def index_names(path: Path) -> set[str]:
    names = query(path, "SELECT name FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL")
    return {str(name).removeprefix("conversations_") for (name,) in names}


def backups_of(path: Path) -> list[Path]:
    return sorted(path.parent.glob(f"{path.name}.backup-*"))


def test_opening_creates_nothing_before_the_first_use(path: Path) -> None:
    with opened(path):
        assert not path.parent.exists()


def test_nobody_else_may_read_the_files(path: Path) -> None:
    with opened(path) as store:
        store.save(conversation("id"), claim="a")

        modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}

    assert modes == {
        "conversations.db": 0o600,
        "conversations.db-wal": 0o600,
        "conversations.db-shm": 0o600,
    }


class TestMigrations:
    def test_an_older_file_is_backed_up_and_migrated(self, path: Path) -> None:
        with opened(path) as store:
            store.save(conversation("id", turns=3), claim="a")

        with opened(path, (*STEPS, NEXT_STEP)) as store:
            assert store.find("id") == conversation("id", turns=3)
            assert store.about()["schema_version"] == len(STEPS) + 1

        (backup,) = backups_of(path)
        assert backup.name.startswith(f"conversations.db.backup-v{len(STEPS)}-")
        assert stat.S_IMODE(backup.stat().st_mode) == 0o600
        assert query(backup, "PRAGMA integrity_check") == [("ok",)]
        assert query(backup, "SELECT id, turns FROM conversations") == [("id", 3)]
        assert query(path, "SELECT id, turns, mood FROM conversations") == [("id", 3, "calm")]

    def test_a_new_file_needs_no_backup(self, path: Path) -> None:
        with opened(path) as store:
            store.ping()

        assert backups_of(path) == []

    def test_a_backup_can_take_the_files_place(self, path: Path) -> None:
        with opened(path) as store:
            store.save(conversation("id"), claim="a")
        with opened(path, (*STEPS, NEXT_STEP)) as store:
            store.ping()

        backups_of(path)[0].replace(path)

        with opened(path) as store:
            assert store.find("id") == conversation("id")

    def test_a_step_that_fails_leaves_the_file_as_it_was(self, path: Path) -> None:
        with opened(path) as store:
            store.save(conversation("id"), claim="a")

        with opened(path, (*STEPS, NEXT_STEP, BROKEN_STEP)) as store:
            with pytest.raises(StoreUnavailable, match="no such table: nowhere"):
                store.ping()
            with pytest.raises(StoreUnavailable, match="no such table: nowhere"):
                store.find("id")

        with opened(path) as store:
            assert store.find("id") == conversation("id")
            assert store.about()["schema_version"] == len(STEPS)

    def test_a_file_of_a_later_release_is_refused_and_its_backup_is_named(self, path: Path) -> None:
        with opened(path) as store:
            store.save(conversation("id"), claim="a")
        with opened(path, (*STEPS, NEXT_STEP)) as store:
            store.ping()

        with opened(path) as store, pytest.raises(SchemaTooNew) as caught:
            store.ping()

        assert str(path) in str(caught.value)
        assert str(backups_of(path)[0]) in str(caught.value)
        assert query(path, "SELECT id FROM conversations") == [("id",)]

    def test_a_worker_of_the_last_release_goes_on_after_the_migration(self, path: Path) -> None:
        with opened(path) as old:
            old.save(conversation("id"), claim="a")
            with opened(path, (*STEPS, NEXT_STEP)) as new:
                new.ping()

            assert old.claim("id", claim="a", now=0, until=1)
            assert old.save(conversation("id", turns=1), claim="a")
            assert old.save(conversation("another"), claim="a")

    def test_stores_that_start_at_once_migrate_once(self, path: Path) -> None:
        with opened(path) as store:
            for number in range(200):
                store.save(conversation(f"id-{number}"), claim="a")
        stores = [SQLiteStore(path, (*STEPS, NEXT_STEP)) for _ in range(9)]

        with ThreadPoolExecutor(len(stores)) as threads:
            counts = list(threads.map(lambda store: store.statistics().conversations, stores))
        for store in stores:
            store.close()

        assert counts == [200] * len(stores)
        assert len(backups_of(path)) == 1

    def test_the_indexes_of_an_earlier_release_become_the_present_ones(self, path: Path) -> None:
        with a_file_of_the_first_release(path) as earlier:
            with opened(path) as store:
                assert [row.id for row in store.find_by_scope("scope", 1)] == ["id"]
                assert [row.id for row in store.of_user("user", None)] == ["id"]
                assert store.about()["schema_version"] == len(STEPS)

            assert index_names(path) == {"age", "chat", "dify", "match"}
            # A worker of that release goes on beside this one, and may be followed by another.
            assert earlier.execute("SELECT id FROM conversations WHERE scope = 'scope'").fetchall() == [
                ("id",)
            ]
            with closing(SQLiteFile(path, STEPS, 1.0, time.monotonic)) as file, file.reading() as later:
                assert later.execute("SELECT id FROM conversations WHERE user = 'user'").fetchall() == [
                    ("id",)
                ]
        assert backups_of(path) == []

    def test_another_programs_database_is_left_alone(self, path: Path) -> None:
        path.parent.mkdir()
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("CREATE TABLE theirs (id)")

        with opened(path) as store, pytest.raises(StoreUnavailable, match="another program's"):
            store.ping()

        assert query(path, "SELECT name FROM sqlite_master") == [("theirs",)]


class TestTrouble:
    def test_a_full_disk_is_unavailable_until_there_is_space(self, path: Path) -> None:
        with opened(path) as store:
            store.save(conversation("before"), claim="a")
            size = (path.parent / "conversations.db-wal").stat().st_size

            conversations = [conversation(f"id-{number}") for number in range(100)]
            with files_limited_to(size + 20_000), pytest.raises(StoreUnavailable) as caught:
                deque((store.save(new, claim="a") for new in conversations), maxlen=0)

            assert isinstance(caught.value.__cause__, sqlite3.OperationalError)
            assert store.save(conversation("after"), claim="a")
            assert store.find("before") == conversation("before")
        assert query(path, "PRAGMA integrity_check") == [("ok",)]

    def test_a_file_that_is_no_database_is_unavailable_until_it_is_gone(self, path: Path) -> None:
        path.parent.mkdir()
        path.write_bytes(b"This is not a database. " * 1000)

        with opened(path) as store:
            with pytest.raises(StoreUnavailable, match="not a database"):
                store.ping()
            assert path.read_bytes().startswith(b"This is not")
            path.unlink()
            assert store.save(conversation("id"), claim="a")

    def test_a_damaged_file_is_unavailable(self, path: Path) -> None:
        with opened(path) as store:
            for number in range(500):
                store.save(conversation(f"id-{number}"), claim="a")
        with path.open("r+b") as file:
            file.seek(4096)
            file.write(os.urandom(path.stat().st_size - 4096))

        with opened(path) as store, pytest.raises(StoreUnavailable):
            store.save(conversation("id"), claim="a")

    def test_a_row_that_is_none_of_ours_is_unavailable(self, path: Path) -> None:
        with opened(path) as store:
            store.save(conversation("id"), claim="a")
            with closing(sqlite3.connect(path, isolation_level=None)) as connection:
                connection.execute("UPDATE conversations SET turns = 'many'")

            with pytest.raises(StoreUnavailable, match="cannot be read"):
                store.find("id")

    def test_a_folder_in_the_files_place_is_unavailable(self, path: Path) -> None:
        path.mkdir(parents=True)

        with opened(path) as store, pytest.raises(StoreUnavailable) as caught:
            store.ping()

        assert isinstance(caught.value.__cause__, OSError)

    def test_a_file_in_the_folders_place_is_unavailable(self, path: Path) -> None:
        path.parent.write_text("")

        with opened(path) as store, pytest.raises(StoreUnavailable):
            store.ping()

    def test_a_file_put_in_the_place_of_another_is_used(self, path: Path, tmp_path: Path) -> None:
        now = [100.0]
        with opened(tmp_path / "other.db") as other:
            other.save(conversation("restored"), claim="a")
        with closing(SQLiteStore(path, clock=lambda: now[0])) as store:
            store.save(conversation("id"), claim="a")

            for suffix in ("-wal", "-shm"):
                path.with_name(path.name + suffix).unlink()
            (tmp_path / "other.db").replace(path)
            now[0] += 10

            assert [row.id for row in store.all()] == ["restored"]

    def test_a_lock_held_too_long_is_unavailable(self, path: Path) -> None:
        now = FakeClock()
        with closing(SQLiteStore(path, busy_timeout_seconds=0.05, clock=now)) as store:
            store.ping()
            with closing(sqlite3.connect(path, isolation_level=None)) as other:
                other.execute("BEGIN IMMEDIATE")

                with pytest.raises(StoreUnavailable, match="locked"):
                    store.save(conversation("id"), claim="a")

            now.advance(0.5)
            assert store.save(conversation("id"), claim="a")

    def test_nobody_waits_in_line_for_a_lock_held_too_long(self, path: Path) -> None:
        now = FakeClock()
        with closing(SQLiteStore(path, busy_timeout_seconds=0.2, clock=now)) as store:
            store.ping()
            with closing(sqlite3.connect(path, isolation_level=None)) as other:
                other.execute("BEGIN IMMEDIATE")
                with pytest.raises(StoreUnavailable, match="locked"):
                    store.save(conversation("id"), claim="a")
                began_at = time.monotonic()

                for _ in range(100):
                    with pytest.raises(StoreUnavailable, match="locked"):
                        store.save(conversation("id"), claim="a")

            assert time.monotonic() - began_at < 0.2


def test_space_is_given_back(path: Path) -> None:
    with opened(path) as store:
        for number in range(3000):
            store.save(conversation(f"id-{number}", chat_id="x" * 200, updated_at=number), claim="a")
        full = store.about()["size_bytes"]
        store.delete_beyond(10)
        store.optimize()

        assert isinstance(full, int)
        assert path.stat().st_size < full / 10
        assert len(list(store.all())) == 10


def test_every_search_uses_an_index(path: Path) -> None:
    with opened(path) as store:
        for number in range(200):
            name = f"{number}"
            store.save(conversation(name, match_key=name, scope=name[:-1], user=name), claim="a")
        store.optimize()

    plans = {
        "match_key = ? AND match_key <> '' ORDER BY updated_at DESC": "conversations_match",
        "scope = ? AND chat_id <> '' ORDER BY updated_at DESC": "conversations_chat",
        "conversation_id = ? AND caller = ?": "conversations_dify",
        "(updated_at, rowid) > (?, ?) ORDER BY updated_at, rowid": "conversations_age",
        "id = ?": "sqlite_autoindex_conversations_1",
    }
    with closing(sqlite3.connect(path)) as connection:
        for search, index in plans.items():
            statement = f"EXPLAIN QUERY PLAN SELECT * FROM conversations WHERE {search}"  # noqa: S608 - constants
            (plan,) = connection.execute(statement, ("x",) * search.count("?")).fetchall()
            assert f"INDEX {index} " in plan[3]


@contextmanager
def files_limited_to(size: int) -> Iterator[None]:
    """No file of this process grows beyond `size` bytes meanwhile, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
