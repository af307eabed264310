"""Turns `CONVERSATION_STORE_URL` into a store; drivers are imported only when they are asked for."""

from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from opendify.stores.base import ConversationStore

REDIS_SCHEMES: Final = frozenset(
    {"redis", "rediss", "redis+sentinel", "rediss+sentinel", "redis+cluster", "rediss+cluster"}
)
POSTGRES_SCHEMES: Final = frozenset({"postgresql", "postgres"})


def open_store(url: str, data_dir: Path, *, ttl_seconds: float | None = None) -> ConversationStore:
    """The store that `url` names; nothing is contacted before its first use.

    `sqlite:///data/NAME` is a file in `data_dir`, any other relative path starts at the
    folder above it, and four slashes make a path absolute. With `ttl_seconds` Redis
    forgets by itself what was not saved for so long; the others when they are told to.

    Raises:
        ValueError: The URL names no store; the message shows none of its secrets.
    """
    scheme = url.partition("://")[0].lower()
    if scheme == "sqlite":
        from opendify.stores.sqlite import SQLiteStore

        return SQLiteStore(sqlite_path(url, data_dir))
    if scheme in REDIS_SCHEMES:
        from opendify.stores.redis import RedisStore

        return RedisStore(url, ttl_seconds=ttl_seconds)
    if scheme in POSTGRES_SCHEMES:
        from opendify.stores.postgres import PostgresStore

        return PostgresStore(url)
    raise ValueError(
        "the conversation store's URL must start with sqlite:///, redis://, rediss://, "
        "redis+sentinel://, redis+cluster:// or postgresql://"
    )


def sqlite_path(url: str, data_dir: Path) -> Path:
    """The file that a `sqlite:///` URL names, absolute.

    Raises:
        ValueError: It names none that several processes could share.
    """
    parts = urlsplit(url)
    path = unquote(parts.path.removeprefix("/"))
    if parts.netloc or parts.query or parts.fragment or path.endswith("/") or path in ("", ":memory:"):
        raise ValueError(
            "a SQLite URL is sqlite:///data/NAME.db, or sqlite:////absolute/path.db, and has no options"
        )
    found = anchored(path, data_dir)
    if found == data_dir.absolute():
        raise ValueError("a SQLite URL names a file, and this is the data folder")
    return found


def anchored(path: str, data_dir: Path) -> Path:
    """`path`, absolute: `data/NAME` lies in `data_dir`, any other relative one in the folder above it."""
    first, _, rest = path.partition("/")
    is_in_data_dir = rest and first in ("data", data_dir.name)
    return (data_dir / rest if is_in_data_dir else data_dir.parent / path).absolute()
