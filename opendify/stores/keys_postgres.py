"""API keys in a PostgreSQL database that several machines share."""

from collections.abc import Sequence
from typing import Final, LiteralString

from opendify.stores.keys import StoredKey, read_key, write_body
from opendify.stores.postgres_pool import PostgresPool

STEPS: Final[tuple[tuple[LiteralString, ...], ...]] = (
    (
        """
        CREATE TABLE opendify.keys (
            position bigint GENERATED ALWAYS AS IDENTITY,
            id text PRIMARY KEY,
            body text NOT NULL,
            last_used_at double precision NOT NULL DEFAULT 0
        )
        """,
    ),
)


class PostgresKeys:
    """Each call is one statement."""

    def __init__(self, url: str) -> None:
        self._pool = PostgresPool(url, STEPS, version_table="keys_version")

    def find(self, id: str) -> StoredKey | None:
        rows = self._select("SELECT id, body, last_used_at FROM opendify.keys WHERE id = %s", id)
        return rows[0] if rows else None

    def add(self, key: StoredKey) -> bool:
        return self._write(
            "INSERT INTO opendify.keys (id, body, last_used_at) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING",
            key.id,
            write_body(key),
            key.last_used_at,
        )

    def replace(self, before: StoredKey, after: StoredKey) -> bool:
        return self._write(
            "UPDATE opendify.keys SET body = %s WHERE id = %s AND body = %s",
            write_body(after),
            before.id,
            write_body(before),
        )

    def all(self) -> Sequence[StoredKey]:
        return self._select("SELECT id, body, last_used_at FROM opendify.keys ORDER BY position")

    def note_use(self, id: str, at: float) -> None:
        self._write(
            "UPDATE opendify.keys SET last_used_at = %s WHERE id = %s AND last_used_at < %s", at, id, at
        )

    def close(self) -> None:
        self._pool.close()

    def _select(self, statement: LiteralString, *values: object) -> Sequence[StoredKey]:
        with self._pool.connection() as connection:
            return [read_key(*row) for row in connection.execute(statement, values).fetchall()]

    def _write(self, statement: LiteralString, *values: object) -> bool:
        with self._pool.connection() as connection:
            return connection.execute(statement, values).rowcount == 1
