"""`opendify backup` and `opendify restore`: whole, proved, and never in the way."""

import json
import sqlite3
import stat
import threading
import zipfile
from contextlib import closing
from pathlib import Path

import pytest
from werkzeug.datastructures import Headers

from opendify.access.opening import open_access
from opendify.stores import open_store
from opendify.stores.sqlite import SQLiteStore
from tests.cli.conftest import Operation
from tests.stores.conftest import emptied_url, servers
from tests.stores.conversations import conversation
from tests.stores.servers import Server

__all__ = ["servers"]


def payload_of(file: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(file) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def repack(file: Path, **changes: bytes) -> None:
    """Change what is inside, as someone with good tools would."""
    contents = payload_of(file)
    changed = {"manifest.json": changes.get("manifest"), "conversations.db": changes.get("database")}
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in contents.items():
            archive.writestr(name, changed.get(name) or content)


def test_a_backup_is_one_private_file_that_says_what_it_holds(operation: Operation, tmp_path: Path) -> None:
    operation.add("a", "b")
    file = tmp_path / "backup.zip"

    said = operation.said("backup", file)

    manifest = json.loads(payload_of(file)["manifest.json"])
    assert (manifest["conversations"], manifest["payload"]) == (2, "conversations.db")
    assert said == f"{file}: 2 conversations, 0 keys, sha256 {manifest['sha256']}\n"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [each.name for each in tmp_path.iterdir() if each.name.startswith(".")] == []


def test_what_was_backed_up_comes_back_and_the_old_file_is_kept(operation: Operation, tmp_path: Path) -> None:
    rows = operation.add("a", "b", recent=b"\x00\xff" * 8, turns=5)
    operation.said("backup", tmp_path / "backup.zip")
    operation.said("conversations", "delete", "a")
    operation.add("later")
    operation.store.close()

    said = operation.said("restore", tmp_path / "backup.zip", "--yes")

    assert operation.ids() == {"a", "b"}
    assert [operation.store.find(row.id) for row in rows] == rows
    (kept,) = operation.data_dir.glob("conversations.db.before-restore-*")
    assert str(kept) in said
    with closing(SQLiteStore(kept)) as old:
        assert {row.id for row in old.all()} == {"b", "later"}
    assert stat.S_IMODE(operation.database.stat().st_mode) == 0o600


def test_a_backup_is_restored_where_there_is_nothing_yet(operation: Operation, tmp_path: Path) -> None:
    operation.add("a")
    operation.said("backup", tmp_path / "backup.zip")
    operation.store.close()
    for file in operation.data_dir.iterdir():
        file.unlink()
    operation.data_dir.rmdir()

    operation.said("restore", tmp_path / "backup.zip", "--yes")

    assert operation.ids() == {"a"}


def _keys(operation: Operation) -> dict[str, str]:
    """Each key's state, by its name."""
    listed = json.loads(operation.said("keys", "list", "--json"))
    return {key["name"]: key["state"] for key in listed}


def test_keys_are_backed_up_and_those_that_are_missing_come_back(
    operation: Operation, tmp_path: Path
) -> None:
    operation.add("a")
    key = operation.said("keys", "create", "team-a", "--rpm", "60").strip()
    operation.said("keys", "create", "team-b")
    assert "1 conversation, 2 keys" in operation.said("backup", tmp_path / "backup.zip")
    assert "1 conversation, 2 keys" in operation.said("verify-backup", tmp_path / "backup.zip")
    operation.store.close()
    for file in operation.data_dir.glob("keys.db*"):
        file.unlink()

    said = operation.said("restore", tmp_path / "backup.zip", "--yes")

    assert "keys: 2 added, 0 were there already" in said
    with closing(open_access(operation.settings)) as access:
        assert access.keys.authenticate(Headers({"api-key": key})).limits.requests_per_minute == 60
    assert not [each for each in payload_of(tmp_path / "backup.zip").values() if key.encode() in each]


def test_a_key_that_was_revoked_since_does_not_come_back(operation: Operation, tmp_path: Path) -> None:
    operation.add("a")
    operation.said("keys", "create", "team-a")
    operation.said("backup", tmp_path / "backup.zip")
    operation.said("keys", "revoke", "team-a")
    operation.store.close()

    said = operation.said("restore", tmp_path / "backup.zip", "--yes")

    assert "keys: 0 added, 1 were there already" in said
    assert _keys(operation) == {"team-a": "revoked"}
    (line,) = [
        each for each in (operation.data_dir / "audit.log").read_text().splitlines() if "restore" in each
    ]
    assert json.loads(line)["event"] == "key action"


def test_a_backup_of_before_there_were_keys_is_good(operation: Operation, tmp_path: Path) -> None:
    operation.add("a")
    operation.said("keys", "create", "team-a")
    file = tmp_path / "backup.zip"
    operation.said("backup", file)
    contents = payload_of(file)
    manifest = json.loads(contents["manifest.json"])
    del manifest["keys"], manifest["keys_sha256"]
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("manifest.json", json.dumps(manifest))
        archive.writestr("conversations.db", contents["conversations.db"])
    operation.store.close()

    assert "1 conversation, 0 keys" in operation.said("verify-backup", file)
    operation.said("restore", file, "--yes")

    assert _keys(operation) == {"team-a": "active"}


def test_keys_that_were_changed_in_a_backup_are_refused(operation: Operation, tmp_path: Path) -> None:
    operation.add("a")
    operation.said("keys", "create", "team-a")
    file = tmp_path / "backup.zip"
    operation.said("backup", file)
    contents = payload_of(file)
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in contents.items():
            archive.writestr(name, content.replace(b'"is_admin":false', b'"is_admin":true'))

    assert "checksum" in operation.refused("verify-backup", file)


def test_a_restore_asks_first(operation: Operation, tmp_path: Path) -> None:
    operation.add("a")
    operation.said("backup", tmp_path / "backup.zip")
    operation.add("b")
    operation.store.close()

    assert operation.run("restore", tmp_path / "backup.zip", typed="n\n").exit_code == 1
    assert operation.ids() == {"a", "b"}


def test_a_backup_of_a_store_that_is_written_to_is_whole_and_holds_nobody_up(
    operation: Operation, tmp_path: Path
) -> None:
    operation.add(*(f"before-{number}" for number in range(500)))
    stop, failed, written = threading.Event(), threading.Event(), [0, 0]

    def write(writer: int) -> None:
        with closing(SQLiteStore(operation.database, busy_timeout_seconds=2)) as store:
            while not stop.is_set():
                row = conversation(f"w{writer}-{written[writer]}", updated_at=written[writer])
                if not store.save(row, claim="w"):
                    failed.set()
                written[writer] += 1

    threads = [threading.Thread(target=write, args=(writer,)) for writer in (0, 1)]
    for thread in threads:
        thread.start()
    counts = []
    for number in range(3):
        before = sum(written)
        operation.said("backup", tmp_path / f"{number}.zip")
        counts.append((before, json.loads(payload_of(tmp_path / f"{number}.zip")["manifest.json"])))
    stop.set()
    for thread in threads:
        thread.join()

    assert not failed.is_set()
    for before, manifest in counts:
        assert manifest["conversations"] >= 500 + before, "nothing that was saved before is missing"
    operation.store.close()
    operation.said("restore", tmp_path / "2.zip", "--yes")
    assert len(operation.ids()) == counts[2][1]["conversations"]


def test_a_database_in_use_is_not_replaced(operation: Operation, tmp_path: Path) -> None:
    operation.add("a")
    operation.said("backup", tmp_path / "backup.zip")
    operation.add("b")

    said = operation.refused("restore", tmp_path / "backup.zip", "--yes")

    assert "stop the service" in said
    assert operation.ids() == {"a", "b"}
    assert list(operation.data_dir.glob("*before-restore*")) == []
    operation.add("c")


@pytest.mark.parametrize("place", [0, 1 / 4, 1 / 2, 3 / 4, 1])
def test_a_backup_with_a_changed_byte_is_refused(operation: Operation, tmp_path: Path, place: float) -> None:
    operation.add(*(f"id-{number}" for number in range(50)))
    file = tmp_path / "backup.zip"
    operation.said("backup", file)
    content = bytearray(file.read_bytes())
    with zipfile.ZipFile(file) as archive:
        info = archive.getinfo("conversations.db")
    # Inside of the packed database; other bytes of a zip file mean nothing.
    first = info.header_offset + 60
    content[first + round(place * (info.compress_size - 60))] ^= 0xFF
    file.write_bytes(content)
    operation.add("later")
    operation.store.close()

    said = operation.refused("restore", file, "--yes")

    assert len(said.splitlines()) == 1
    assert "later" in operation.ids()


@pytest.mark.parametrize("size", [0, 1, 100, 0.5, 0.99])
def test_a_backup_that_is_cut_is_refused(operation: Operation, tmp_path: Path, size: float) -> None:
    operation.add("a")
    file = tmp_path / "backup.zip"
    operation.said("backup", file)
    content = file.read_bytes()
    file.write_bytes(content[: int(size if size >= 1 else size * len(content))])

    assert "backup.zip" in operation.refused("restore", file, "--yes")
    assert operation.ids() == {"a"}


def test_a_payload_that_is_not_the_manifest_s_is_refused(operation: Operation, tmp_path: Path) -> None:
    operation.add("a")
    operation.said("backup", tmp_path / "one.zip")
    operation.add("b")
    operation.said("backup", tmp_path / "two.zip")
    repack(tmp_path / "one.zip", database=payload_of(tmp_path / "two.zip")["conversations.db"])

    assert "checksum" in operation.refused("restore", tmp_path / "one.zip", "--yes")


def test_a_manifest_with_another_count_is_refused(operation: Operation, tmp_path: Path) -> None:
    operation.add("a")
    file = tmp_path / "backup.zip"
    operation.said("backup", file)
    manifest = json.loads(payload_of(file)["manifest.json"])
    repack(file, manifest=json.dumps({**manifest, "conversations": 2}).encode())

    assert "should hold 2" in operation.refused("restore", file, "--yes")


@pytest.mark.parametrize(
    "change", [{"version": 2}, {"format": "other"}, {"payload": "../../etc/passwd"}, {"sha256": 5}]
)
def test_a_manifest_of_another_kind_is_refused(
    operation: Operation, tmp_path: Path, change: dict[str, object]
) -> None:
    operation.add("a")
    file = tmp_path / "backup.zip"
    operation.said("backup", file)
    manifest = json.loads(payload_of(file)["manifest.json"])
    repack(file, manifest=json.dumps({**manifest, **change}).encode())

    assert "no backup" in operation.refused("restore", file, "--yes")


def test_a_backup_of_a_later_release_is_refused_before_anything_changes(
    operation: Operation, tmp_path: Path
) -> None:
    operation.add("a")
    operation.store.close()
    with closing(sqlite3.connect(operation.database)) as connection:
        connection.execute("PRAGMA user_version = 99")
    operation.said("backup", tmp_path / "backup.zip")
    with closing(sqlite3.connect(operation.database)) as connection:
        connection.execute("PRAGMA user_version = 1")

    assert "schema version 99" in operation.refused("restore", tmp_path / "backup.zip", "--yes")
    assert operation.ids() == {"a"}


def test_a_damaged_database_can_be_replaced_and_is_kept(operation: Operation, tmp_path: Path) -> None:
    operation.add("a")
    operation.said("backup", tmp_path / "backup.zip")
    operation.store.close()
    operation.database.write_bytes(b"rubbish" * 1_000)

    operation.said("restore", tmp_path / "backup.zip", "--yes")

    assert operation.ids() == {"a"}
    (kept,) = operation.data_dir.glob("conversations.db.before-restore-*")
    assert kept.read_bytes().startswith(b"rubbish")


def test_a_damaged_database_is_not_backed_up(operation: Operation, tmp_path: Path) -> None:
    operation.add(*(f"id-{number}" for number in range(200)))
    operation.store.close()
    content = bytearray(operation.database.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 8_192] = b"\xa5" * 8_192
    operation.database.write_bytes(content)

    operation.refused("backup", tmp_path / "backup.zip")

    assert not (tmp_path / "backup.zip").exists()


def test_an_existing_file_is_only_replaced_if_it_is_a_backup(operation: Operation, tmp_path: Path) -> None:
    operation.add("a")
    precious, older = tmp_path / "precious.txt", tmp_path / "older.zip"
    precious.write_text("precious")
    operation.said("backup", older)
    operation.add("b")

    assert "exists" in operation.refused("backup", older)
    assert "no backup" in operation.refused("backup", precious, "--force")
    assert "2 conversations" in operation.said("backup", older, "--force")
    assert precious.read_text() == "precious"


def test_where_there_is_no_database_there_is_nothing_to_back_up(operation: Operation, tmp_path: Path) -> None:
    assert "no such database" in operation.refused("backup", tmp_path / "backup.zip")
    assert not operation.data_dir.exists()


@pytest.mark.parametrize("folder", ["missing", "missing/deeper"])
def test_a_folder_that_is_not_there_is_one_line(operation: Operation, tmp_path: Path, folder: str) -> None:
    operation.add("a")

    said = operation.refused("backup", tmp_path / folder / "backup.zip")

    assert len(said.splitlines()) == 1
    assert "missing" in said


@pytest.mark.parametrize("kind", ["redis", "postgresql"])
def test_a_server_s_rows_are_backed_up_and_those_that_are_missing_come_back(
    operation: Operation,
    tmp_path: Path,
    kind: str,
    servers: dict[str, Server],
) -> None:
    operation.environ["CONVERSATION_STORE_URL"] = emptied_url(kind, servers)
    with closing(open_store(operation.environ["CONVERSATION_STORE_URL"], operation.data_dir)) as store:
        operation.store = store
        rows = operation.add("a", "b", recent=b"\x00\xff" * 8)
        operation.said("keys", "create", "team-a")
        assert "2 conversations, 1 key" in operation.said("backup", tmp_path / "backup.zip")
        operation.said("conversations", "delete", "a")

        said = operation.said("restore", tmp_path / "backup.zip", "--yes")

        assert "1 added, 1 were there already" in said
        assert "keys: 0 added, 1 were there already" in said
        assert sorted(store.all(), key=lambda row: row.id) == rows


def test_a_backup_moves_from_one_kind_of_store_to_another(
    operation: Operation,
    tmp_path: Path,
    servers: dict[str, Server],
) -> None:
    rows = operation.add("a", "b")
    operation.said("backup", tmp_path / "sqlite.zip")
    operation.environ["CONVERSATION_STORE_URL"] = url = emptied_url("redis", servers)

    operation.said("restore", tmp_path / "sqlite.zip", "--yes")
    operation.said("backup", tmp_path / "redis.zip")
    with closing(open_store(url, operation.data_dir)) as store:
        assert sorted(store.all(), key=lambda row: row.id) == rows
    del operation.environ["CONVERSATION_STORE_URL"]
    operation.said("conversations", "delete", "a")

    assert "1 added" in operation.said("restore", tmp_path / "redis.zip", "--yes")
    assert operation.ids() == {"a", "b"}
