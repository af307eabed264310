"""Windows in a PostgreSQL database that several machines share."""

# ruff: noqa: S608 - statements are put together of constants only.

from typing import Final, LiteralString

import msgspec

from opendify.stores.postgres_pool import PostgresPool
from opendify.stores.windows import WINDOW_SECONDS, Amount, Window

STEPS: Final[tuple[tuple[LiteralString, ...], ...]] = (
    (
        # Unlogged: a minute's counts need not outlive a crash of the server.
        """
        CREATE UNLOGGED TABLE opendify.windows (
            name text PRIMARY KEY,
            is_let_in boolean NOT NULL,
            requests bigint NOT NULL,
            tokens bigint NOT NULL,
            ends_at double precision NOT NULL
        ) WITH (fillfactor = 50)
        """,
    ),
)

_IS_OVER: Final[LiteralString] = "(w.ends_at <= %(now)s OR w.ends_at > %(now)s + 2 * %(seconds)s)"
_FITS: Final[LiteralString] = (
    "(w.requests + %(requests)s <= %(most_requests)s AND w.tokens < %(most_tokens)s)"
)
_COUNT: Final[LiteralString] = f"""
    INSERT INTO opendify.windows AS w
    VALUES (%(name)s, true, %(requests)s, %(tokens)s, %(now)s + %(seconds)s)
    ON CONFLICT (name) DO UPDATE SET
        is_let_in = {_IS_OVER} OR {_FITS},
        requests = CASE WHEN {_IS_OVER} THEN 0 ELSE w.requests END
            + CASE WHEN {_IS_OVER} OR {_FITS} THEN %(requests)s ELSE 0 END,
        tokens = CASE WHEN {_IS_OVER} THEN 0 ELSE w.tokens END
            + CASE WHEN {_IS_OVER} OR {_FITS} THEN %(tokens)s ELSE 0 END,
        ends_at = CASE WHEN {_IS_OVER} THEN %(now)s + %(seconds)s ELSE w.ends_at END
    RETURNING is_let_in, requests, tokens, ends_at
"""


class PostgresWindows:
    """Each call is one statement."""

    def __init__(self, url: str) -> None:
        self._pool = PostgresPool(url, STEPS, version_table="windows_version")

    def count(self, name: str, amount: Amount, most: Amount, *, now: float) -> Window:
        values = {
            "name": name,
            "requests": amount.requests,
            "tokens": amount.tokens,
            "most_requests": most.requests,
            "most_tokens": most.tokens,
            "now": now,
            "seconds": WINDOW_SECONDS,
        }
        with self._pool.connection() as connection:
            rows = connection.execute(_COUNT, values).fetchall()
        ((is_let_in, requests, tokens, ends_at),) = msgspec.convert(rows, list[tuple[bool, int, int, float]])
        return Window(is_let_in, Amount(requests, tokens), ends_at)

    def clean_up(self, *, now: float) -> None:
        with self._pool.connection() as connection:
            connection.execute("DELETE FROM opendify.windows WHERE ends_at <= %s", (now,))

    def close(self) -> None:
        self._pool.close()
