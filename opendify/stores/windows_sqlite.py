"""Windows in a SQLite file that all processes of one machine share."""

# ruff: noqa: S608 - statements are put together of constants only.

from pathlib import Path
from time import monotonic
from typing import Final

from opendify.records import Clock
from opendify.stores.sqlite_file import SQLiteFile
from opendify.stores.windows import WINDOW_SECONDS, Amount, Window

STEPS: Final[tuple[tuple[str, ...], ...]] = (
    (
        """
        CREATE TABLE windows (
            name TEXT PRIMARY KEY,
            is_let_in INTEGER NOT NULL,
            requests INTEGER NOT NULL,
            tokens INTEGER NOT NULL,
            ends_at REAL NOT NULL
        ) WITHOUT ROWID
        """,
    ),
)
# A minute's counts need not outlive a power cut.
_PRAGMAS: Final = ("PRAGMA synchronous = OFF",)

_IS_OVER: Final = f"(ends_at <= :now OR ends_at > :now + {2 * WINDOW_SECONDS})"
_FITS: Final = "(requests + :requests <= :most_requests AND tokens < :most_tokens)"
_COUNT: Final = f"""
    INSERT INTO windows VALUES (:name, 1, :requests, :tokens, :now + {WINDOW_SECONDS})
    ON CONFLICT (name) DO UPDATE SET
        is_let_in = {_IS_OVER} OR {_FITS},
        requests = CASE WHEN {_IS_OVER} THEN 0 ELSE requests END
            + CASE WHEN {_IS_OVER} OR {_FITS} THEN :requests ELSE 0 END,
        tokens = CASE WHEN {_IS_OVER} THEN 0 ELSE tokens END
            + CASE WHEN {_IS_OVER} OR {_FITS} THEN :tokens ELSE 0 END,
        ends_at = CASE WHEN {_IS_OVER} THEN :now + {WINDOW_SECONDS} ELSE ends_at END
    RETURNING is_let_in, requests, tokens, ends_at
"""


class SQLiteWindows:
    """Each call is one statement. `clock` is a monotonic one."""

    def __init__(self, path: Path, *, busy_timeout_seconds: float = 2.0, clock: Clock = monotonic) -> None:
        self._file = SQLiteFile(path, STEPS, busy_timeout_seconds, clock, pragmas=_PRAGMAS)

    def count(self, name: str, amount: Amount, most: Amount, *, now: float) -> Window:
        values = {
            "name": name,
            "requests": amount.requests,
            "tokens": amount.tokens,
            "most_requests": most.requests,
            "most_tokens": most.tokens,
            "now": now,
        }
        with self._file.reading() as connection:
            # One statement is a transaction by itself, and waits for its turn by itself.
            ((is_let_in, requests, tokens, ends_at),) = connection.execute(_COUNT, values).fetchall()
        return Window(bool(is_let_in), Amount(requests, tokens), ends_at)

    def clean_up(self, *, now: float) -> None:
        with self._file.reading() as connection:
            connection.execute("DELETE FROM windows WHERE ends_at <= ?", (now,))

    def close(self) -> None:
        self._file.close()
