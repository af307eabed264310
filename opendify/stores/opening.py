"""Turns `CONVERSATION_STORE_URL` into the stores that lie there.

Drivers are imported only when they are asked for, and nothing is contacted before its first use.
Each function raises `ValueError` where the URL names no store; the message shows none of its secrets.
"""

from pathlib import Path

from opendify.stores.answers import AnswerStore
from opendify.stores.base import ConversationStore
from opendify.stores.keys import KeyStore
from opendify.stores.places import PlaceStore
from opendify.stores.urls import kind_of, sqlite_path
from opendify.stores.windows import WindowStore


def open_store(url: str, data_dir: Path, *, ttl_seconds: float | None = None) -> ConversationStore:
    """The conversations that `url` names.

    `sqlite:///data/NAME` is a file in `data_dir`, any other relative path starts at the
    folder above it, and four slashes make a path absolute. With `ttl_seconds` Redis
    forgets by itself what was not saved for so long; the others when they are told to.
    """
    match kind_of(url):
        case "redis":
            from opendify.stores.redis import RedisStore

            return RedisStore(url, ttl_seconds=ttl_seconds)
        case "postgresql":
            from opendify.stores.postgres import PostgresStore

            return PostgresStore(url)
        case "sqlite":
            from opendify.stores.sqlite import SQLiteStore

            return SQLiteStore(sqlite_path(url, data_dir))


def open_answer_store(url: str, data_dir: Path) -> AnswerStore:
    """What is kept of requests that a client may repeat, in the forms of `open_store`."""
    match kind_of(url):
        case "redis":
            from opendify.stores.answers_redis import RedisAnswers

            return RedisAnswers(url)
        case "postgresql":
            from opendify.stores.answers_postgres import PostgresAnswers

            return PostgresAnswers(url)
        case "sqlite":
            from opendify.stores.answers_sqlite import SQLiteAnswers

            return SQLiteAnswers(sqlite_path(url, data_dir))


def open_key_store(url: str, data_dir: Path) -> KeyStore:
    """The callers' keys, in the forms of `open_store`."""
    match kind_of(url):
        case "redis":
            from opendify.stores.keys_redis import RedisKeys

            return RedisKeys(url)
        case "postgresql":
            from opendify.stores.keys_postgres import PostgresKeys

            return PostgresKeys(url)
        case "sqlite":
            from opendify.stores.keys_sqlite import SQLiteKeys

            return SQLiteKeys(sqlite_path(url, data_dir))


def open_window_store(url: str, data_dir: Path) -> WindowStore:
    """What is counted of each caller, in the forms of `open_store`."""
    match kind_of(url):
        case "redis":
            from opendify.stores.windows_redis import RedisWindows

            return RedisWindows(url)
        case "postgresql":
            from opendify.stores.windows_postgres import PostgresWindows

            return PostgresWindows(url)
        case "sqlite":
            from opendify.stores.windows_sqlite import SQLiteWindows

            return SQLiteWindows(sqlite_path(url, data_dir))


def open_place_store(url: str) -> PlaceStore | None:
    """Where places are held; None for SQLite, since a machine by itself needs none."""
    match kind_of(url):
        case "redis":
            from opendify.stores.places_redis import RedisPlaces

            return RedisPlaces(url)
        case "postgresql":
            from opendify.stores.places_postgres import PostgresPlaces

            return PostgresPlaces(url)
        case "sqlite":
            return None
