"""Conversations in a PostgreSQL database that several machines share."""

# ruff: noqa: S608 - statements are put together of constants only.

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, LiteralString

import msgspec

from opendify.stores.base import StoredConversation, StoreStatistics
from opendify.stores.migrations.postgres import STEPS, schema_version
from opendify.stores.postgres_pool import PostgresPool
from opendify.stores.rows import read_row, storable_text, write_columns

_Counts = tuple[int, int, int, float | None, float | None]

_PIECE: Final = 500
# In the order of `rows.COLUMNS`; the type checker lets no other text into a statement.
_COLUMNS: Final[LiteralString] = """
    id, scope, model, caller, "user", chat_id, app_fingerprint, conversation_id, message_id, match_key,
    recent, shows_history, turns, created_at, updated_at, next_turn_at
"""
_SELECT: Final[LiteralString] = f"SELECT {_COLUMNS} FROM opendify.conversations"

_CLAIM_MATCH: Final[LiteralString] = f"""
    UPDATE opendify.conversations SET claim = %(claim)s, claimed_until = %(until)s
    WHERE id = (
        SELECT id FROM opendify.conversations
        WHERE match_key = %(match_key)s AND match_key <> '' AND claim IS NULL
        ORDER BY updated_at DESC LIMIT 1
        FOR UPDATE SKIP LOCKED
    )
    RETURNING {_COLUMNS}
"""
_CLAIM: Final[LiteralString] = f"""
    UPDATE opendify.conversations SET
        match_key = CASE WHEN claim IS NULL THEN match_key ELSE '' END,
        recent = CASE WHEN claim IS NULL THEN recent ELSE ''::bytea END,
        claim = %(claim)s, claimed_until = %(until)s
    WHERE id = %(id)s AND (claim IS NULL OR claimed_until <= %(now)s)
    RETURNING {_COLUMNS}
"""
_RENEW: Final[LiteralString] = """
    UPDATE opendify.conversations SET claimed_until = %(until)s WHERE id = %(id)s AND claim = %(claim)s
"""
_RELEASE: Final[LiteralString] = """
    UPDATE opendify.conversations SET claim = NULL, claimed_until = 0
    WHERE id = %(id)s AND claim = %(claim)s
"""
_SAVE: Final[LiteralString] = f"""
    INSERT INTO opendify.conversations AS stored ({_COLUMNS}) VALUES (
        %(id)s, %(scope)s, %(model)s, %(caller)s, %(user)s, %(chat_id)s, %(app_fingerprint)s,
        %(conversation_id)s, %(message_id)s, %(match_key)s, %(recent)s, %(shows_history)s, %(turns)s,
        %(created_at)s, %(updated_at)s, %(next_turn_at)s
    )
    ON CONFLICT (id) DO UPDATE SET
        scope = excluded.scope, model = excluded.model, caller = excluded.caller,
        "user" = excluded."user", chat_id = excluded.chat_id,
        app_fingerprint = excluded.app_fingerprint, conversation_id = excluded.conversation_id,
        message_id = excluded.message_id, match_key = excluded.match_key, recent = excluded.recent,
        shows_history = excluded.shows_history, turns = excluded.turns,
        created_at = excluded.created_at, updated_at = excluded.updated_at,
        next_turn_at = excluded.next_turn_at, claim = NULL, claimed_until = 0
    WHERE stored.claim = %(claim)s
"""
_PIECE_OF_ALL: Final[LiteralString] = f"""
    {_SELECT} WHERE (updated_at, id) > (%(updated_at)s, %(id)s) ORDER BY updated_at, id LIMIT {_PIECE}
"""
_DELETE_OLDEST: Final[LiteralString] = """
    DELETE FROM opendify.conversations WHERE id IN (
        SELECT id FROM opendify.conversations WHERE updated_at < %(before)s
        ORDER BY updated_at, id LIMIT %(most)s
        FOR UPDATE SKIP LOCKED
    )
"""
_STATISTICS: Final[LiteralString] = """
    SELECT count(*), count(DISTINCT "user"), coalesce(sum(turns), 0)::bigint, min(updated_at), max(updated_at)
    FROM opendify.conversations
"""
_BY_MODEL: Final[LiteralString] = """
    SELECT model, count(*) FROM opendify.conversations GROUP BY model ORDER BY model
"""


class PostgresStore:
    """Each call is one statement, so that a lost connection leaves nothing half done.

    Nothing expires by itself: `delete_older_than` does that. `steps` is the schema.
    """

    def __init__(self, url: str, steps: Sequence[Sequence[LiteralString]] = STEPS) -> None:
        self._pool = PostgresPool(url, steps)

    def claim_match(self, match_key: str, *, claim: str, until: float) -> StoredConversation | None:
        match_key = storable_text(match_key)
        values = {"match_key": match_key, "claim": claim, "until": until}
        return _first(self._read(_CLAIM_MATCH, values))

    def claim(self, id: str, *, claim: str, now: float, until: float) -> StoredConversation | None:
        values = {"id": storable_text(id), "claim": claim, "now": now, "until": until}
        return _first(self._read(_CLAIM, values))

    def renew(self, id: str, *, claim: str, until: float) -> bool:
        return self._write(_RENEW, {"id": storable_text(id), "claim": claim, "until": until}) == 1

    def save(self, conversation: StoredConversation, *, claim: str) -> bool:
        return self._write(_SAVE, write_columns(conversation) | {"claim": claim}) == 1

    def release(self, id: str, *, claim: str) -> None:
        self._write(_RELEASE, {"id": storable_text(id), "claim": claim})

    def find_by_scope(self, scope: str, limit: int) -> list[StoredConversation]:
        return self._read(
            f"{_SELECT} WHERE scope = %(scope)s ORDER BY updated_at DESC LIMIT %(limit)s",
            {"scope": storable_text(scope), "limit": max(limit, 0)},
        )

    def find_by_conversation_id(self, caller: str, conversation_id: str) -> StoredConversation | None:
        found = self._read(
            f"{_SELECT} WHERE conversation_id = %(conversation_id)s AND caller = %(caller)s "
            "ORDER BY updated_at DESC LIMIT 1",
            {"conversation_id": storable_text(conversation_id), "caller": storable_text(caller)},
        )
        return _first(found)

    def find(self, id: str) -> StoredConversation | None:
        return _first(self._read(f"{_SELECT} WHERE id = %(id)s", {"id": storable_text(id)}))

    def recent(self, limit: int) -> list[StoredConversation]:
        return self._read(
            f"{_SELECT} ORDER BY updated_at DESC, id DESC LIMIT %(limit)s", {"limit": max(limit, 0)}
        )

    def of_user(self, user: str, caller: str | None) -> list[StoredConversation]:
        return self._read(
            f'{_SELECT} WHERE "user" = %(user)s AND caller = coalesce(%(caller)s, caller) '
            "ORDER BY updated_at DESC",
            {"user": storable_text(user), "caller": None if caller is None else storable_text(caller)},
        )

    def all(self) -> Iterator[StoredConversation]:
        last: dict[str, object] = {"updated_at": float("-inf"), "id": ""}
        while True:
            piece = self._read(_PIECE_OF_ALL, last)
            yield from piece
            if len(piece) < _PIECE:
                return
            last = {"updated_at": piece[-1].updated_at, "id": piece[-1].id}

    def delete(self, id: str) -> bool:
        statement: LiteralString = "DELETE FROM opendify.conversations WHERE id = %(id)s"
        return self._write(statement, {"id": storable_text(id)}) == 1

    def delete_older_than(self, updated_before: float) -> int:
        deleted = 0
        while True:
            piece = self._write(_DELETE_OLDEST, {"before": updated_before, "most": _PIECE})
            deleted += piece
            if piece < _PIECE:
                return deleted

    def delete_beyond(self, most: int) -> int:
        excess, deleted = self.statistics().conversations - max(most, 0), 0
        while deleted < excess:
            piece = min(_PIECE, excess - deleted)
            deleted_now = self._write(_DELETE_OLDEST, {"before": float("inf"), "most": piece})
            deleted += deleted_now
            if deleted_now < piece:
                break
        return deleted

    def statistics(self) -> StoreStatistics:
        with self._pool.connection(slow=True) as connection:
            counts = connection.execute(_STATISTICS).fetchall()
            models = connection.execute(_BY_MODEL).fetchall()
        conversations, users, turns, oldest_at, newest_at = msgspec.convert(counts[0], _Counts)
        return StoreStatistics(
            conversations,
            users,
            turns,
            dict(msgspec.convert(models, list[tuple[str, int]])),
            oldest_at,
            newest_at,
        )

    def about(self) -> Mapping[str, object]:
        with self._pool.connection() as connection:
            size = connection.execute("SELECT pg_total_relation_size('opendify.conversations')").fetchone()
            return {
                "backend": "postgresql",
                "schema_version": schema_version(connection),
                "size_bytes": size[0] if size else None,
                "server_version": connection.info.parameter_status("server_version"),
            }

    def optimize(self) -> None:
        with self._pool.connection(slow=True) as connection:
            connection.execute("VACUUM (ANALYZE) opendify.conversations")

    def ping(self) -> None:
        self._read(f"{_SELECT} LIMIT 1", {})

    def close(self) -> None:
        self._pool.close()

    def _read(self, statement: LiteralString, values: Mapping[str, object]) -> list[StoredConversation]:
        with self._pool.connection() as connection:
            rows = connection.execute(statement, values).fetchall()
        return [read_row(row) for row in rows]

    def _write(self, statement: LiteralString, values: Mapping[str, object]) -> int:
        with self._pool.connection() as connection:
            return connection.execute(statement, values).rowcount


def _first(found: Sequence[StoredConversation]) -> StoredConversation | None:
    return found[0] if found else None
