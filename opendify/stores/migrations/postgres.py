"""Brings the `opendify` schema of a PostgreSQL database to the present version."""

# ruff: noqa: S608 - statements are put together of constants only.

from collections.abc import Sequence
from typing import Final, LiteralString

import psycopg

from opendify.stores.migrations import SchemaTooNew

STEPS: Final[tuple[tuple[LiteralString, ...], ...]] = (
    (
        """
        CREATE TABLE opendify.conversations (
            id text PRIMARY KEY,
            scope text NOT NULL,
            model text NOT NULL,
            caller text NOT NULL,
            "user" text NOT NULL,
            chat_id text NOT NULL,
            app_fingerprint text NOT NULL,
            conversation_id text NOT NULL,
            message_id text NOT NULL DEFAULT '',
            match_key text NOT NULL DEFAULT '',
            recent bytea NOT NULL DEFAULT '',
            shows_history boolean NOT NULL DEFAULT false,
            turns bigint NOT NULL DEFAULT 0,
            created_at double precision NOT NULL DEFAULT 0,
            updated_at double precision NOT NULL DEFAULT 0,
            next_turn_at double precision NOT NULL DEFAULT 0,
            claim text,
            claimed_until double precision NOT NULL DEFAULT 0
        )
        """,
        """
        CREATE INDEX conversations_match ON opendify.conversations (match_key, updated_at)
        WHERE match_key <> ''
        """,
        "CREATE INDEX conversations_scope ON opendify.conversations (scope, updated_at)",
        # A hash index takes texts of any length; a B-tree refuses them above 2,704 bytes.
        "CREATE INDEX conversations_dify ON opendify.conversations USING hash (conversation_id)",
        'CREATE INDEX conversations_user ON opendify.conversations USING hash ("user")',
        "CREATE INDEX conversations_age ON opendify.conversations (updated_at, id)",
    ),
)
"""What leads from each version to the next. Columns are added with a default and never
dropped in the release that stops to use them, so that the release before can go on."""

VERSION_TABLE: Final = "schema_version"
_LOCK: Final = 0x4F70656E44696679


def migrate(
    connection: psycopg.Connection[tuple[object, ...]],
    steps: Sequence[Sequence[LiteralString]] = STEPS,
    version_table: LiteralString = VERSION_TABLE,
) -> None:
    """Run the steps that the database has not had, all in one transaction.

    Of several machines that start at once, one migrates and the others wait. No backup
    is made: databases of this kind have their own.

    Raises:
        SchemaTooNew: The database has had more steps than are known here.
        psycopg.Error: A step failed; the database is as before.
    """
    if schema_version(connection, version_table) == len(steps):
        return
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
        version = schema_version(connection, version_table)
        if version > len(steps):
            raise SchemaTooNew(
                f"the schema opendify has version {version}, and this release knows {len(steps)}; "
                "update it, or restore the database's backup"
            )
        if version == 0:
            _create_schema(connection, version_table)
        for step in steps[version:]:
            for statement in step:
                connection.execute(statement)
        connection.execute(f"UPDATE opendify.{version_table} SET version = %s", (len(steps),))


def schema_version(
    connection: psycopg.Connection[tuple[object, ...]], version_table: LiteralString = VERSION_TABLE
) -> int:
    """How many steps the database has had."""
    # `to_regclass` may answer from a cache that is older than the lock.
    tables: LiteralString = f"""
        SELECT count(*) FROM pg_catalog.pg_tables
        WHERE schemaname = 'opendify' AND tablename = '{version_table}'
    """
    if _answer(connection, tables) == 0:
        return 0
    version = _answer(connection, f"SELECT version FROM opendify.{version_table}")
    return version if isinstance(version, int) else 0


def _create_schema(connection: psycopg.Connection[tuple[object, ...]], version_table: LiteralString) -> None:
    # Even with IF NOT EXISTS this needs a right that an ordinary role may not have.
    schemas: LiteralString = "SELECT count(*) FROM pg_catalog.pg_namespace WHERE nspname = 'opendify'"
    if _answer(connection, schemas) == 0:
        connection.execute("CREATE SCHEMA opendify")
    connection.execute(f"CREATE TABLE opendify.{version_table} (version integer NOT NULL)")
    connection.execute(f"INSERT INTO opendify.{version_table} VALUES (0)")


def _answer(connection: psycopg.Connection[tuple[object, ...]], query: LiteralString) -> object:
    row = connection.execute(query).fetchone()
    return None if row is None else row[0]
