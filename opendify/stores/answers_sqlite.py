"""Answers in a SQLite file that all processes of one machine share."""

# ruff: noqa: S608 - statements are put together of constants only.

import sqlite3
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from time import monotonic
from typing import Final

import msgspec

from opendify.records import Clock
from opendify.stores.answers import StoredAnswer
from opendify.stores.rows import storable_text
from opendify.stores.sqlite_file import SQLiteFile, Values

STEPS: Final[tuple[tuple[str, ...], ...]] = (
    (
        """
        CREATE TABLE answers (
            id TEXT PRIMARY KEY,
            key TEXT NOT NULL,
            fingerprint TEXT NOT NULL,
            user TEXT NOT NULL,
            begun_at REAL NOT NULL,
            claimed_until REAL NOT NULL,
            expires_at REAL NOT NULL,
            outcome BLOB
        )
        """,
        "CREATE INDEX answers_key ON answers (key, begun_at)",
    ),
)
# What is deleted is overwritten: an answer is a person's.
_PRAGMAS: Final = ("PRAGMA secure_delete = ON",)

_NAMES: Final = StoredAnswer.__struct_fields__
_COLUMNS: Final = ", ".join(_NAMES)
_BEGIN: Final = f"INSERT INTO answers ({_COLUMNS}) VALUES ({', '.join('?' for _ in _NAMES)})"
_FORGET: Final = "DELETE FROM answers WHERE id = ?"
_NEWEST: Final = f"""
    SELECT {_COLUMNS} FROM answers WHERE key = :key AND expires_at > :now
    ORDER BY begun_at DESC, rowid DESC LIMIT 1
"""
_FIND: Final = f"SELECT {_COLUMNS} FROM answers WHERE id = ? AND expires_at > ?"
_RENEW: Final = """
    UPDATE answers SET claimed_until = :claimed_until, expires_at = :expires_at
    WHERE id = :id AND outcome IS NULL AND expires_at > :now
"""
_FINISH: Final = """
    UPDATE answers SET outcome = ?, expires_at = ?
    WHERE id = ? AND outcome IS NULL AND expires_at > ?
"""
_DROP_THE_OLDEST: Final = """
    UPDATE answers SET outcome = x'' WHERE rowid IN (
        SELECT rowid FROM (
            SELECT rowid, sum(length(outcome)) OVER (ORDER BY begun_at DESC, rowid DESC) AS total
            FROM answers WHERE length(outcome) > 0
        ) WHERE total > :most_bytes
    )
"""
_FORGET_DROPPED: Final = "DELETE FROM answers WHERE fingerprint = '' AND length(outcome) = 0"


class SQLiteAnswers:
    """Each call is one transaction. `clock` is a monotonic one."""

    def __init__(self, path: Path, *, busy_timeout_seconds: float = 2.0, clock: Clock = monotonic) -> None:
        self._file = SQLiteFile(path, STEPS, busy_timeout_seconds, clock, pragmas=_PRAGMAS)

    def begin(self, answer: StoredAnswer, *, now: float, anew: bool) -> StoredAnswer | None:
        row = msgspec.structs.astuple(msgspec.structs.replace(answer, user=storable_text(answer.user)))
        if anew:
            self._write(_BEGIN, row)
            return None
        with self._file.writing() as connection:
            known = connection.execute(_NEWEST, {"key": answer.key, "now": now}).fetchone()
            if known is None:
                # A repeat may be noted under the id of one that never began, and has expired since.
                connection.execute(_FORGET, (answer.id,))
                connection.execute(_BEGIN, row)
        return known and _read(known)

    def find(self, id: str, *, now: float) -> StoredAnswer | None:
        found, _ = self._file.run(_FIND, (id, now))
        return _read(found[0]) if found else None

    def renew(self, ids: Sequence[str], *, now: float, claimed_until: float, expires_at: float) -> None:
        times = {"now": now, "claimed_until": claimed_until, "expires_at": expires_at}
        with self._file.writing() as connection:
            connection.executemany(_RENEW, [{"id": each, **times} for each in ids])

    def finish(self, id: str, outcome: bytes, *, now: float, expires_at: float) -> None:
        self._write(_FINISH, (outcome, expires_at, id, now))

    def forget(self, id: str) -> None:
        self._write(_FORGET, (id,))

    def delete_of_user(self, user: str) -> int:
        if not self._file.path.exists():
            return 0
        deleted = self._write("DELETE FROM answers WHERE user = ?", (storable_text(user),))
        self._overwrite_the_log()
        return deleted

    def clean_up(self, *, now: float, most_bytes: int) -> int:
        if not self._file.path.exists():
            return 0
        with self._file.writing() as connection:
            gone = connection.execute("DELETE FROM answers WHERE expires_at <= :now", {"now": now}).rowcount
            if _size(connection) > most_bytes:
                gone += connection.execute(_DROP_THE_OLDEST, {"most_bytes": most_bytes}).rowcount
                gone += connection.execute(_FORGET_DROPPED).rowcount
            (left,) = connection.execute("SELECT count(*) FROM answers").fetchone()
        if gone:
            self._overwrite_the_log()
        return int(left)

    def close(self) -> None:
        self._file.close()

    def _write(self, statement: str, values: Values) -> int:
        _, changed = self._file.run(statement, values)
        return changed

    def _overwrite_the_log(self) -> None:
        """Write what was deleted to the file as well; until then its pages are in the log beside it."""
        with self._file.aside() as connection, suppress(sqlite3.OperationalError):
            connection.executescript("PRAGMA incremental_vacuum")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _size(connection: sqlite3.Connection) -> int:
    """Of the file, in bytes; known at once, where to add up what is in it takes long."""
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    (bytes_a_page,) = connection.execute("PRAGMA page_size").fetchone()
    return int(pages * bytes_a_page)


def _read(row: tuple[object, ...]) -> StoredAnswer:
    return msgspec.convert(dict(zip(_NAMES, row, strict=True)), StoredAnswer, builtin_types=(bytes,))
