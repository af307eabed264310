"""Answers in a PostgreSQL database that several machines share."""

# ruff: noqa: S608 - statements are put together of constants only.

from collections.abc import Mapping, Sequence
from typing import Final, LiteralString

import msgspec

from opendify.stores.answers import StoredAnswer
from opendify.stores.postgres_pool import PostgresPool
from opendify.stores.rows import storable_text

STEPS: Final[tuple[tuple[LiteralString, ...], ...]] = (
    (
        # Unlogged: an answer that is deleted shall not live on in archives of the server's log.
        """
        CREATE UNLOGGED TABLE opendify.answers (
            id text PRIMARY KEY,
            key text NOT NULL,
            fingerprint text NOT NULL,
            "user" text NOT NULL,
            begun_at double precision NOT NULL,
            claimed_until double precision NOT NULL,
            expires_at double precision NOT NULL,
            outcome bytea
        )
        """,
        "CREATE INDEX answers_key ON opendify.answers (key, begun_at)",
    ),
)

# In the order of the fields of `StoredAnswer`.
_COLUMNS: Final[LiteralString] = 'id, key, fingerprint, "user", begun_at, claimed_until, expires_at, outcome'
_BEGIN: Final[LiteralString] = f"""
    INSERT INTO opendify.answers ({_COLUMNS}) VALUES (
        %(id)s, %(key)s, %(fingerprint)s, %(user)s, %(begun_at)s, %(claimed_until)s, %(expires_at)s,
        %(outcome)s
    )
"""
_LOCK: Final[LiteralString] = "SELECT pg_advisory_xact_lock(hashtextextended(%(key)s, 0))"
_NEWEST: Final[LiteralString] = f"""
    SELECT {_COLUMNS} FROM opendify.answers WHERE key = %(key)s AND expires_at > %(now)s
    ORDER BY begun_at DESC, id LIMIT 1
"""
_FIND: Final[LiteralString] = (
    f"SELECT {_COLUMNS} FROM opendify.answers WHERE id = %(id)s AND expires_at > %(now)s"
)
_RENEW: Final[LiteralString] = """
    UPDATE opendify.answers SET claimed_until = %(claimed_until)s, expires_at = %(expires_at)s
    WHERE id = ANY(%(ids)s) AND outcome IS NULL AND expires_at > %(now)s
"""
_FINISH: Final[LiteralString] = """
    UPDATE opendify.answers SET outcome = %(outcome)s, expires_at = %(expires_at)s
    WHERE id = %(id)s AND outcome IS NULL AND expires_at > %(now)s
"""
_FORGET: Final[LiteralString] = "DELETE FROM opendify.answers WHERE id = %(id)s"
_FORGET_USER: Final[LiteralString] = 'DELETE FROM opendify.answers WHERE "user" = %(user)s'
_DELETE_EXPIRED: Final[LiteralString] = "DELETE FROM opendify.answers WHERE expires_at <= %(now)s"
_DROP_THE_OLDEST: Final[LiteralString] = """
    UPDATE opendify.answers SET outcome = '' WHERE id IN (
        SELECT id FROM (
            SELECT id, sum(length(outcome)) OVER (ORDER BY begun_at DESC, id) AS total
            FROM opendify.answers WHERE length(outcome) > 0
        ) AS newest_first WHERE total > %(most_bytes)s
    )
"""
_FORGET_DROPPED: Final[LiteralString] = (
    "DELETE FROM opendify.answers WHERE fingerprint = '' AND length(outcome) = 0"
)


class PostgresAnswers:
    """Calls that read and then write are one transaction, the others one statement."""

    def __init__(self, url: str) -> None:
        self._pool = PostgresPool(url, STEPS, version_table="answers_version")

    def begin(self, answer: StoredAnswer, *, now: float, anew: bool) -> StoredAnswer | None:
        row = msgspec.to_builtins(answer, builtin_types=(bytes,)) | {"user": storable_text(answer.user)}
        if anew:
            self._write(_BEGIN, row)
            return None
        with self._pool.connection() as connection, connection.transaction():
            connection.execute(_LOCK, row)
            found = connection.execute(_NEWEST, row | {"now": now}).fetchall()
            if not found:
                # A repeat may be noted under the id of one that never began, and has expired since.
                connection.execute(_FORGET, row)
                connection.execute(_BEGIN, row)
        return _first(found)

    def find(self, id: str, *, now: float) -> StoredAnswer | None:
        with self._pool.connection() as connection:
            return _first(connection.execute(_FIND, {"id": id, "now": now}).fetchall())

    def renew(self, ids: Sequence[str], *, now: float, claimed_until: float, expires_at: float) -> None:
        until = {"claimed_until": claimed_until, "expires_at": expires_at}
        self._write(_RENEW, {"ids": list(ids), "now": now, **until})

    def finish(self, id: str, outcome: bytes, *, now: float, expires_at: float) -> None:
        self._write(_FINISH, {"id": id, "outcome": outcome, "now": now, "expires_at": expires_at})

    def forget(self, id: str) -> None:
        self._write(_FORGET, {"id": id})

    def delete_of_user(self, user: str) -> int:
        return self._write(_FORGET_USER, {"user": storable_text(user)})

    def clean_up(self, *, now: float, most_bytes: int) -> int:
        with self._pool.connection(slow=True) as connection:
            connection.execute(_DELETE_EXPIRED, {"now": now})
            connection.execute(_DROP_THE_OLDEST, {"most_bytes": most_bytes})
            connection.execute(_FORGET_DROPPED)
            left = connection.execute("SELECT count(*) FROM opendify.answers").fetchall()
        return msgspec.convert(left[0][0], int)

    def close(self) -> None:
        self._pool.close()

    def _write(self, statement: LiteralString, values: Mapping[str, object]) -> int:
        with self._pool.connection() as connection:
            return connection.execute(statement, values).rowcount


def _first(rows: Sequence[tuple[object, ...]]) -> StoredAnswer | None:
    if not rows:
        return None
    names = StoredAnswer.__struct_fields__
    return msgspec.convert(dict(zip(names, rows[0], strict=True)), StoredAnswer, builtin_types=(bytes,))
