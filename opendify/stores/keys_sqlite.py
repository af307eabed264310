"""API keys in a SQLite file that all processes of one machine share."""

from collections.abc import Sequence
from pathlib import Path
from time import monotonic
from typing import Final

from opendify.records import Clock
from opendify.stores.keys import StoredKey, read_key, write_body
from opendify.stores.sqlite_file import SQLiteFile

STEPS: Final[tuple[tuple[str, ...], ...]] = (
    ("CREATE TABLE keys (id TEXT PRIMARY KEY, body TEXT NOT NULL, last_used_at REAL NOT NULL DEFAULT 0)",),
)
# Unlike a conversation, a revocation must outlive a power cut.
_PRAGMAS: Final = ("PRAGMA synchronous = FULL",)


class SQLiteKeys:
    """Each call is one statement. `clock` is a monotonic one."""

    def __init__(self, path: Path, *, busy_timeout_seconds: float = 2.0, clock: Clock = monotonic) -> None:
        self._file = SQLiteFile(path, STEPS, busy_timeout_seconds, clock, pragmas=_PRAGMAS)

    def find(self, id: str) -> StoredKey | None:
        rows = self._select("SELECT id, body, last_used_at FROM keys WHERE id = ?", id)
        return rows[0] if rows else None

    def add(self, key: StoredKey) -> bool:
        values = (key.id, write_body(key), key.last_used_at)
        return self._write("INSERT INTO keys VALUES (?, ?, ?) ON CONFLICT DO NOTHING", *values)

    def replace(self, before: StoredKey, after: StoredKey) -> bool:
        values = (write_body(after), before.id, write_body(before))
        return self._write("UPDATE keys SET body = ? WHERE id = ? AND body = ?", *values)

    def all(self) -> Sequence[StoredKey]:
        return self._select("SELECT id, body, last_used_at FROM keys ORDER BY rowid")

    def note_use(self, id: str, at: float) -> None:
        self._write("UPDATE keys SET last_used_at = ? WHERE id = ? AND last_used_at < ?", at, id, at)

    def close(self) -> None:
        self._file.close()

    def _select(self, statement: str, *values: object) -> Sequence[StoredKey]:
        # Who uses no stored keys gets no file either.
        if not self._file.path.exists():
            return ()
        with self._file.reading() as connection:
            return [read_key(*row) for row in connection.execute(statement, values).fetchall()]

    def _write(self, statement: str, *values: object) -> bool:
        with self._file.reading() as connection:
            # One statement is a transaction by itself, and waits for its turn by itself.
            return connection.execute(statement, values).rowcount == 1
