"""Brings a SQLite file to the present schema, with a backup of what was there."""

import os
import sqlite3
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Final

from opendify.stores.base import StoreUnavailable
from opendify.stores.migrations import SchemaTooNew

STEPS: Final[tuple[tuple[str, ...], ...]] = (
    (
        """
        CREATE TABLE conversations (
            id TEXT NOT NULL UNIQUE,
            scope TEXT NOT NULL,
            model TEXT NOT NULL,
            caller TEXT NOT NULL,
            user TEXT NOT NULL,
            chat_id TEXT NOT NULL,
            app_fingerprint TEXT NOT NULL,
            conversation_id TEXT NOT NULL,
            message_id TEXT NOT NULL DEFAULT '',
            match_key TEXT NOT NULL DEFAULT '',
            recent BLOB NOT NULL DEFAULT x'',
            shows_history INTEGER NOT NULL DEFAULT 0,
            turns INTEGER NOT NULL DEFAULT 0,
            created_at REAL NOT NULL DEFAULT 0,
            updated_at REAL NOT NULL DEFAULT 0,
            next_turn_at REAL NOT NULL DEFAULT 0,
            claim TEXT,
            claimed_until REAL NOT NULL DEFAULT 0
        )
        """,
        "CREATE INDEX conversations_match ON conversations (match_key, updated_at) WHERE match_key <> ''",
        "CREATE INDEX conversations_scope ON conversations (scope, updated_at)",
        "CREATE INDEX conversations_dify ON conversations (conversation_id)",
        "CREATE INDEX conversations_user ON conversations (user)",
        "CREATE INDEX conversations_age ON conversations (updated_at)",
    ),
)
"""What leads from each version to the next. Columns are added with a default and never
dropped in the release that stops to use them, so that the release before can go on."""

INDEXES: Final[tuple[str, ...]] = (
    # Only a chat that has an id is looked for by its scope.
    "CREATE INDEX IF NOT EXISTS conversations_chat ON conversations (scope, updated_at) WHERE chat_id <> ''",
    "DROP INDEX IF EXISTS conversations_scope",
    "DROP INDEX IF EXISTS conversations_user",
)
"""What has become of the indexes since, at whichever opening comes first.

No version counts them: every release works with any, so that one before can go on beside the next.
Each costs every turn a page to be written, or two.
"""


def migrate(connection: sqlite3.Connection, path: Path, steps: Sequence[Sequence[str]] = STEPS) -> None:
    """Run the steps that the file has not had, all in one transaction.

    `connection` is in autocommit mode. Of several processes that start at once, one
    migrates and the others wait.

    Raises:
        SchemaTooNew: The file has had more steps than are known here.
        StoreUnavailable: The file belongs to another program.
        sqlite3.Error: A step failed; the file is as before.
        OSError: The backup could not be written; the file is as before.
    """
    if schema_version(connection) == len(steps):
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        _migrate_locked(connection, path, steps)
    except BaseException:
        # SQLite itself has rolled back after the graver errors.
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def schema_version(connection: sqlite3.Connection) -> int:
    """How many steps the file has had."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    return int(version)


def _migrate_locked(connection: sqlite3.Connection, path: Path, steps: Sequence[Sequence[str]]) -> None:
    version = schema_version(connection)
    if version > len(steps):
        raise SchemaTooNew(_too_new(path, version, len(steps)))
    if version == 0 and connection.execute("SELECT 1 FROM sqlite_master").fetchone():
        raise StoreUnavailable(f"{path} is another program's database")
    if 0 < version < len(steps):
        _back_up(path, version)
    for step in steps[version:]:
        for statement in step:
            connection.execute(statement)
    connection.execute(f"PRAGMA user_version = {len(steps)}")


def _back_up(path: Path, version: int) -> None:
    """Copy the committed state; the caller holds the write lock, so that it is the latest."""
    written_at = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    backup = path.with_name(f"{path.name}.backup-v{version}-{written_at}")
    partial = path.with_name(f"{backup.name}.partial-{os.getpid()}")
    os.close(os.open(partial, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    try:
        with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(partial)) as target:
            source.backup(target)
            # A backup is one file, which needs no `-wal` beside it.
            target.execute("PRAGMA journal_mode = DELETE")
        partial.replace(backup)
    finally:
        partial.unlink(missing_ok=True)


def _too_new(path: Path, version: int, known: int) -> str:
    backups = sorted(path.parent.glob(f"{path.name}.backup-v*"), key=lambda backup: backup.stat().st_mtime)
    usable = [backup for backup in backups if f".backup-v{known}-" in backup.name]
    way_back = (
        f"its backup for this release is {usable[-1]}" if usable else "it has no backup for this release"
    )
    return f"{path} has schema version {version}, and this release knows {known}; {way_back}"
