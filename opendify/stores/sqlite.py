"""Conversations in a SQLite file that all processes of one machine share."""

# ruff: noqa: S608 - statements are put together of constants only.

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from time import monotonic
from typing import Final

from opendify.records import Clock
from opendify.stores.base import StoredConversation, StoreStatistics
from opendify.stores.migrations.sqlite import INDEXES, STEPS, schema_version
from opendify.stores.rows import COLUMNS, read_row, storable_text, write_row
from opendify.stores.sqlite_file import SQLiteFile, Values

_PIECE: Final = 500
_COLUMNS: Final = ", ".join(COLUMNS)
_SELECT: Final = f"SELECT {_COLUMNS} FROM conversations"

_NEWEST_FREE_MATCH: Final = """
    SELECT rowid FROM conversations
    WHERE match_key = :match_key AND match_key <> '' AND claim IS NULL
    ORDER BY updated_at DESC LIMIT 1
"""
_CLAIM_MATCH: Final = f"""
    UPDATE conversations SET claim = :claim, claimed_until = :until
    WHERE rowid = ({_NEWEST_FREE_MATCH})
    RETURNING {_COLUMNS}
"""
_CLAIM: Final = f"""
    UPDATE conversations SET
        match_key = CASE WHEN claim IS NULL THEN match_key ELSE '' END,
        recent = CASE WHEN claim IS NULL THEN recent ELSE x'' END,
        claim = :claim, claimed_until = :until
    WHERE id = :id AND (claim IS NULL OR claimed_until <= :now)
    RETURNING {_COLUMNS}
"""
_RENEW: Final = "UPDATE conversations SET claimed_until = :until WHERE id = :id AND claim = :claim"
_RELEASE: Final = """
    UPDATE conversations SET claim = NULL, claimed_until = 0 WHERE id = :id AND claim = :claim
"""
_SAVE: Final = f"""
    INSERT INTO conversations ({_COLUMNS}) VALUES ({", ".join("?" for _ in COLUMNS)})
    ON CONFLICT (id) DO UPDATE SET
        {", ".join(f"{name} = excluded.{name}" for name in COLUMNS if name != "id")},
        claim = NULL, claimed_until = 0
    WHERE claim = ?
"""
# The ages are answered by an index; together in one statement all rows would be looked at for each.
_USERS_AND_AGES: Final = """
    SELECT
        (SELECT count(DISTINCT user) FROM conversations),
        (SELECT min(updated_at) FROM conversations),
        (SELECT max(updated_at) FROM conversations)
"""
_OF_USER: Final = f"""
    {_SELECT} WHERE user = :user AND caller = coalesce(:caller, caller) ORDER BY updated_at DESC
"""
_BY_MODEL: Final = "SELECT model, count(*), sum(turns) FROM conversations GROUP BY model ORDER BY model"
_PIECE_OF_ALL: Final = f"""
    SELECT rowid, {_COLUMNS} FROM conversations
    WHERE (updated_at, rowid) > (:updated_at, :rowid)
    ORDER BY updated_at, rowid LIMIT {_PIECE}
"""
_DELETE_OLDEST: Final = """
    DELETE FROM conversations WHERE rowid IN (
        SELECT rowid FROM conversations WHERE updated_at < :before ORDER BY updated_at LIMIT :most
    )
"""


class SQLiteStore:
    """Each call is one transaction; what deletes or reads much does it in pieces.

    Nothing expires by itself: `delete_older_than` does that. `steps` is the schema, and
    `clock` a monotonic one.
    """

    def __init__(
        self,
        path: Path,
        steps: Sequence[Sequence[str]] = STEPS,
        *,
        busy_timeout_seconds: float = 2.0,
        clock: Clock = monotonic,
    ) -> None:
        self._file = SQLiteFile(path, steps, busy_timeout_seconds, clock, indexes=INDEXES)

    def claim_match(self, match_key: str, *, claim: str, until: float) -> StoredConversation | None:
        values = {"match_key": storable_text(match_key), "claim": claim, "until": until}
        found, _ = self._file.run(_NEWEST_FREE_MATCH, values)
        # The first turn of every chat finds nothing, and need not queue behind the writers.
        return self._claim(_CLAIM_MATCH, values) if found else None

    def claim(self, id: str, *, claim: str, now: float, until: float) -> StoredConversation | None:
        return self._claim(_CLAIM, {"id": storable_text(id), "claim": claim, "now": now, "until": until})

    def renew(self, id: str, *, claim: str, until: float) -> bool:
        return self._write(_RENEW, {"id": storable_text(id), "claim": claim, "until": until}) == 1

    def save(self, conversation: StoredConversation, *, claim: str) -> bool:
        return self._write(_SAVE, (*write_row(conversation), claim)) == 1

    def release(self, id: str, *, claim: str) -> None:
        self._write(_RELEASE, {"id": storable_text(id), "claim": claim})

    def find_by_scope(self, scope: str, limit: int) -> list[StoredConversation]:
        return self._find(
            f"{_SELECT} WHERE scope = :scope AND chat_id <> '' ORDER BY updated_at DESC LIMIT :limit",
            {"scope": storable_text(scope), "limit": max(limit, 0)},
        )

    def find_by_conversation_id(self, caller: str, conversation_id: str) -> StoredConversation | None:
        found = self._find(
            f"{_SELECT} WHERE conversation_id = :conversation_id AND caller = :caller "
            "ORDER BY updated_at DESC LIMIT 1",
            {"conversation_id": storable_text(conversation_id), "caller": storable_text(caller)},
        )
        return found[0] if found else None

    def find(self, id: str) -> StoredConversation | None:
        found = self._find(f"{_SELECT} WHERE id = :id", {"id": storable_text(id)})
        return found[0] if found else None

    def recent(self, limit: int) -> list[StoredConversation]:
        return self._find(f"{_SELECT} ORDER BY updated_at DESC LIMIT :limit", {"limit": max(limit, 0)})

    def of_user(self, user: str, caller: str | None) -> list[StoredConversation]:
        values = {"user": storable_text(user), "caller": None if caller is None else storable_text(caller)}
        # Operators ask so, now and then: an index would cost each turn more than it saves them.
        with self._file.aside() as connection:
            rows = connection.execute(_OF_USER, values).fetchall()
        return [read_row(row) for row in rows]

    def all(self) -> Iterator[StoredConversation]:
        last: dict[str, object] = {"updated_at": float("-inf"), "rowid": 0}
        while True:
            with self._file.reading() as connection:
                rows = connection.execute(_PIECE_OF_ALL, last).fetchall()
            for _, *row in rows:
                yield read_row(row)
            if len(rows) < _PIECE:
                return
            last = {"updated_at": read_row(rows[-1][1:]).updated_at, "rowid": rows[-1][0]}

    def delete(self, id: str) -> bool:
        return self._write("DELETE FROM conversations WHERE id = :id", {"id": storable_text(id)}) == 1

    def delete_older_than(self, updated_before: float) -> int:
        deleted = 0
        while True:
            piece = self._write(_DELETE_OLDEST, {"before": updated_before, "most": _PIECE})
            deleted += piece
            if piece < _PIECE:
                return deleted

    def delete_beyond(self, most: int) -> int:
        with self._file.aside() as connection:
            (kept,) = connection.execute("SELECT count(*) FROM conversations").fetchone()
        excess, deleted = kept - max(most, 0), 0
        while deleted < excess:
            piece = min(_PIECE, excess - deleted)
            deleted_now = self._write(_DELETE_OLDEST, {"before": float("inf"), "most": piece})
            deleted += deleted_now
            if deleted_now < piece:
                break
        return deleted

    def statistics(self) -> StoreStatistics:
        with self._file.aside() as connection:
            connection.execute("BEGIN")
            users, oldest_at, newest_at = connection.execute(_USERS_AND_AGES).fetchone()
            models = connection.execute(_BY_MODEL).fetchall()
        by_model = {model: count for model, count, _ in models}
        turns = sum(turns for _, _, turns in models)
        return StoreStatistics(sum(by_model.values()), users, turns, by_model, oldest_at, newest_at)

    def about(self) -> Mapping[str, object]:
        with self._file.reading() as connection:
            return {
                "backend": "sqlite",
                "schema_version": schema_version(connection),
                "size_bytes": _pragma(connection, "page_count") * _pragma(connection, "page_size"),
                "free_bytes": _pragma(connection, "freelist_count") * _pragma(connection, "page_size"),
                "path": str(self._file.path),
                "sqlite_version": sqlite3.sqlite_version,
            }

    def optimize(self) -> None:
        with self._file.aside() as connection:
            self._give_back_space(connection)
            # Reads a sample of each index and no more, so that writers do not wait.
            connection.execute("PRAGMA analysis_limit = 400")
            connection.execute("ANALYZE")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def ping(self) -> None:
        with self._file.reading() as connection:
            connection.execute("SELECT 1 FROM conversations LIMIT 1").fetchone()

    def close(self) -> None:
        self._file.close()

    def _give_back_space(self, connection: sqlite3.Connection) -> None:
        """Shrink the file in short transactions; `VACUUM` would hold up every writer."""
        for _ in range(0, _pragma(connection, "freelist_count"), _PIECE):
            # Each step frees one page, and only `executescript` takes them all.
            connection.executescript(f"PRAGMA incremental_vacuum({_PIECE})")

    def _claim(self, statement: str, values: Mapping[str, object]) -> StoredConversation | None:
        rows, _ = self._file.run(statement, values)
        return read_row(rows[0]) if rows else None

    def _find(self, statement: str, values: Mapping[str, object]) -> list[StoredConversation]:
        rows, _ = self._file.run(statement, values)
        return [read_row(row) for row in rows]

    def _write(self, statement: str, values: Values) -> int:
        _, changed = self._file.run(statement, values)
        return changed


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    (value,) = connection.execute(f"PRAGMA {name}").fetchone()
    return int(value)
