"""What a store's URL says: which kind of store, and where."""

from pathlib import Path
from typing import Final, Literal
from urllib.parse import unquote, urlsplit

REDIS_SCHEMES: Final = frozenset(
    {"redis", "rediss", "redis+sentinel", "rediss+sentinel", "redis+cluster", "rediss+cluster"}
)
POSTGRES_SCHEMES: Final = frozenset({"postgresql", "postgres"})


def kind_of(url: str) -> Literal["sqlite", "redis", "postgresql"]:
    """Which kind of store the URL names.

    Raises:
        ValueError: None of them; the message shows none of its secrets.
    """
    scheme = url.partition("://")[0].lower()
    if scheme == "sqlite":
        return "sqlite"
    if scheme in REDIS_SCHEMES:
        return "redis"
    if scheme in POSTGRES_SCHEMES:
        return "postgresql"
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
