"""The files that BetterOpenDify left, of every age, and whose its chats are."""

import json
import shutil
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest

from opendify.stores.backup import WrongFile
from opendify.stores.importing import OldMapping, read_chat_users, read_old_mappings

# As its last release makes it.
PRESENT = """
    CREATE TABLE conversation_mappings (
        webui_chat_id TEXT PRIMARY KEY,
        dify_conversation_id TEXT NOT NULL,
        created_at INTEGER NOT NULL,
        last_used INTEGER NOT NULL,
        updated_at INTEGER DEFAULT (strftime('%s', 'now'))
    )
"""


def database(path: Path, *statements: str, rows: Sequence[Sequence[object]] = (), table: str = "") -> Path:
    with closing(sqlite3.connect(path)) as connection, connection:
        for statement in statements:
            connection.execute(statement)
        for row in rows:
            places = ", ".join("?" * len(row))
            connection.execute(f"INSERT INTO {table or 'conversation_mappings'} VALUES ({places})", row)  # noqa: S608 - The tests' own literals.
    return path


def json_file(path: Path, shape: object) -> Path:
    path.write_text(json.dumps(shape), encoding="utf-8")
    return path


def test_the_present_table_is_read(tmp_path: Path) -> None:
    file = database(
        tmp_path / "conversation_mappings.db",
        PRESENT,
        rows=[("chat-1", "dify-1", 1722123456, 1722987654, 1722987654), ("chat-2", "dify-2", 10, 20, 20)],
    )

    read = read_old_mappings(file)

    assert {each.chat_id: each for each in read.mappings} == {
        "chat-1": OldMapping("chat-1", "dify-1", "", 1722123456, 1722987654),
        "chat-2": OldMapping("chat-2", "dify-2", "", 10, 20),
    }
    assert read.unreadable == 0


@pytest.mark.parametrize(
    ("columns", "row", "expected"),
    [
        ("webui_chat_id, dify_conversation_id", ("c", "d"), OldMapping("c", "d", "", None, None)),
        ("chat_id, conversation_id, user", ("c", "d", "u"), OldMapping("c", "d", "u", None, None)),
        (
            "webui_chat_id, user_id, dify_conversation_id, updated_at",
            ("c", "u", "d", 7),
            OldMapping("c", "d", "u", None, 7),
        ),
        (
            "webui_chat_id, dify_conversation_id, created_at, last_used",
            ("c", "d", "2025-07-30 12:00:57", "2025-07-30T12:00:57+02:00"),
            OldMapping("c", "d", "", 1753876857, 1753869657),
        ),
        (
            "webui_chat_id, dify_conversation_id, created_at, last_used",
            ("c", "d", 1722123456789, "1722987654.5"),
            OldMapping("c", "d", "", 1722123456.789, 1722987654.5),
        ),
        (
            "webui_chat_id, dify_conversation_id, created_at, last_used",
            ("c", "d", "yesterday", -5),
            OldMapping("c", "d", "", None, None),
        ),
    ],
)
def test_older_and_other_columns_are_found_by_their_names(
    tmp_path: Path, columns: str, row: Sequence[object], expected: OldMapping
) -> None:
    file = database(tmp_path / "old.db", f"CREATE TABLE conversation_mappings ({columns})", rows=[row])

    assert read_old_mappings(file).mappings == [expected]


def test_rows_that_a_broken_upgrade_left_aside_are_read_too(tmp_path: Path) -> None:
    file = database(
        tmp_path / "old.db",
        PRESENT,
        "CREATE TABLE conversation_mappings_backup (webui_chat_id, dify_conversation_id)",
        rows=[("chat-1", "dify-1")],
        table="conversation_mappings_backup",
    )

    assert [each.conversation_id for each in read_old_mappings(file).mappings] == ["dify-1"]


def test_of_two_rows_for_one_chat_the_one_used_last_counts(tmp_path: Path) -> None:
    file = database(
        tmp_path / "old.db",
        "CREATE TABLE conversation_mappings (webui_chat_id, dify_conversation_id, last_used)",
        rows=[("c", "new", 9), ("c", "old", 3)],
    )

    assert [each.conversation_id for each in read_old_mappings(file).mappings] == ["new"]


def test_rows_that_are_only_in_the_log_are_read_and_the_file_stays_as_it_is(tmp_path: Path) -> None:
    running, left = tmp_path / "running.db", tmp_path / "left.db"
    with closing(sqlite3.connect(running)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(PRESENT)
        connection.execute("INSERT INTO conversation_mappings VALUES ('c', 'd', 1, 2, 3)")
        connection.commit()
        # As a killed service leaves it.
        shutil.copyfile(running, left)
        shutil.copyfile(f"{running}-wal", f"{left}-wal")
    before = left.read_bytes()

    assert [each.chat_id for each in read_old_mappings(left).mappings] == ["c"]
    assert left.read_bytes() == before
    assert sorted(file.name for file in tmp_path.glob("left*")) == ["left.db", "left.db-wal"]


def test_a_database_with_an_empty_log_is_read_where_nothing_may_be_written(tmp_path: Path) -> None:
    folder = tmp_path / "mounted"
    folder.mkdir()
    file = database(folder / "old #1?.db", "PRAGMA journal_mode = WAL", PRESENT, rows=[("c", "d", 1, 2, 3)])

    assert [each.chat_id for each in read_old_mappings(file).mappings] == ["c"]
    assert [each.name for each in folder.iterdir()] == [file.name]


@pytest.mark.parametrize(
    "shape",
    [
        {"c": {"dify_conversation_id": "d", "created_at": 5, "last_used": 9}},
        [{"webui_chat_id": "c", "dify_conversation_id": "d", "created_at": 5, "last_used": 9}],
    ],
)
def test_the_json_file_is_read(tmp_path: Path, shape: object) -> None:
    assert read_old_mappings(json_file(tmp_path / "m.json", shape)).mappings == [
        OldMapping("c", "d", "", 5, 9)
    ]


def test_the_oldest_json_file_holds_ids_alone(tmp_path: Path) -> None:
    file = json_file(tmp_path / "m.json", {"c": "d"})

    assert read_old_mappings(file).mappings == [OldMapping("c", "d", "", None, None)]


@pytest.mark.parametrize(
    "entry", [None, 5, [], {}, "", {"dify_conversation_id": ""}, {"created_at": 5}, True]
)
def test_an_entry_without_a_conversation_is_counted_and_left_out(tmp_path: Path, entry: object) -> None:
    read = read_old_mappings(json_file(tmp_path / "m.json", {"c": entry, "good": "d"}))

    assert [each.chat_id for each in read.mappings] == ["good"]
    assert read.unreadable == 1


def test_an_empty_file_of_chats_holds_none(tmp_path: Path) -> None:
    assert read_old_mappings(json_file(tmp_path / "m.json", {})).mappings == []


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"nonsense",
        b"SQLite format 3\0" + b"\xff" * 200,
        b"\xff\xfe\x00",
        b"5",
        b'"text"',
        b"[" * 100_000,
    ],
    ids=["empty", "nonsense", "damaged database", "bytes", "number", "text", "deep"],
)
def test_another_file_is_refused_by_its_name(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "other.file"
    file.write_bytes(content)

    with pytest.raises(WrongFile, match=r"other\.file"):
        read_old_mappings(file)


def test_another_program_s_database_is_refused(tmp_path: Path) -> None:
    file = database(tmp_path / "other.db", "CREATE TABLE notes (text)")

    with pytest.raises(WrongFile, match="conversation_mappings"):
        read_old_mappings(file)


def test_open_webui_s_own_database_tells_whose_a_chat_is(tmp_path: Path) -> None:
    file = database(
        tmp_path / "webui.db",
        "CREATE TABLE chat (id TEXT PRIMARY KEY, user_id TEXT, title TEXT, chat TEXT)",
        rows=[("c1", "u1", "t", "{}"), ("c2", None, "t", "{}")],
        table="chat",
    )

    assert read_chat_users(file) == {"c1": "u1"}


def test_a_json_object_tells_it_too(tmp_path: Path) -> None:
    assert read_chat_users(json_file(tmp_path / "users.json", {"c1": "u1"})) == {"c1": "u1"}


@pytest.mark.parametrize("shape", [[], {"c": 5}, {"c": {"user": "u"}}, "text"])
def test_other_json_tells_nothing(tmp_path: Path, shape: object) -> None:
    with pytest.raises(WrongFile, match=r"users\.json"):
        read_chat_users(json_file(tmp_path / "users.json", shape))


def test_a_database_without_chats_tells_nothing(tmp_path: Path) -> None:
    with pytest.raises(WrongFile, match="Open WebUI"):
        read_chat_users(database(tmp_path / "x.db", "CREATE TABLE chat (id)"))
