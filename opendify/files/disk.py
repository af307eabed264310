"""Files on a disk that all processes of one machine share: contents as files, the rest in SQLite."""

# ruff: noqa: S608 - statements are put together of constants only.

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, fields
from pathlib import Path
from time import monotonic
from typing import Final

from opendify.files.base import (
    LEAST_BYTES,
    Content,
    FilePage,
    FileQuery,
    FileStoreUnavailable,
    NewFile,
    RoomLimits,
    StoredFile,
    room_of,
)
from opendify.files.drafts import Draft, Drafts, NoRoom, OwnerHasNoRoom, stale_files
from opendify.records import Clock
from opendify.stores.base import StoreUnavailable
from opendify.stores.rows import storable_text
from opendify.stores.sqlite_file import SQLiteFile

STEPS: Final[tuple[tuple[str, ...], ...]] = (
    (
        """
        CREATE TABLE files (
            id TEXT PRIMARY KEY,
            owner TEXT NOT NULL,
            filename TEXT NOT NULL,
            purpose TEXT NOT NULL,
            mime_type TEXT NOT NULL,
            created_at INTEGER NOT NULL,
            expires_at INTEGER,
            bytes INTEGER NOT NULL,
            sha256 TEXT NOT NULL
        ) WITHOUT ROWID
        """,
        "CREATE INDEX files_owner ON files (owner, id)",
        "CREATE INDEX files_expiry ON files (expires_at, bytes)",
    ),
)
# A row whose file is there must not be lost to a power cut, nor one that was deleted come back.
_PRAGMAS: Final = ("PRAGMA synchronous = FULL", "PRAGMA secure_delete = ON")
_NAMES: Final = tuple(field.name for field in fields(StoredFile))
_COLUMNS: Final = ", ".join(_NAMES)
_KEPT: Final = "(expires_at IS NULL OR expires_at > :now)"
_INSERT: Final = f"INSERT INTO files ({_COLUMNS}) VALUES ({', '.join(f':{name}' for name in _NAMES)})"
_TOTAL: Final = f"SELECT coalesce(sum(bytes), 0) FROM files WHERE {_KEPT}"
_OWNED: Final = f"SELECT coalesce(sum(max(bytes, :least)), 0) FROM files WHERE owner = :owner AND {_KEPT}"
_FIND: Final = f"SELECT {_COLUMNS} FROM files WHERE id = :id AND owner = :owner AND {_KEPT}"
_PAGE: Final = f"""
    SELECT {_COLUMNS} FROM files WHERE owner = :owner AND {_KEPT}
        AND (:purpose IS NULL OR purpose = :purpose)
"""
_ORDERS: Final = {
    "asc": " AND (:after IS NULL OR id > :after) ORDER BY id ASC LIMIT :most",
    "desc": " AND (:after IS NULL OR id < :after) ORDER BY id DESC LIMIT :most",
}


class DiskFiles:
    """Keeps everything below `folder`; `clock` is a monotonic one.

    A content stands in its place before its row is written, and is deleted after
    it: what a crash leaves between the two is a content without a row, which
    nobody finds and `clean_up` deletes.
    """

    def __init__(self, folder: Path, *, busy_timeout_seconds: float = 5.0, clock: Clock = monotonic) -> None:
        self._contents = folder / "contents"
        self._drafts = Drafts(folder / "drafts")
        self._index = SQLiteFile(folder / "index.db", STEPS, busy_timeout_seconds, clock, pragmas=_PRAGMAS)

    def draft(self, most_bytes: int) -> Draft:
        with _failures_mapped():
            return self._drafts.begin(most_bytes)

    def save(self, draft: Draft, new: NewFile, limits: RoomLimits) -> StoredFile:
        file = StoredFile(**asdict(new), bytes=draft.bytes, sha256=draft.sha256)
        content = self._content(file.id)
        with _failures_mapped():
            draft.finish()
            content.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            draft.move_to(content)
            try:
                self._insert(file, limits)
            except BaseException:
                content.unlink(missing_ok=True)
                raise
        return file

    def find(self, file_id: str, *, owner: str, now: float) -> StoredFile | None:
        with _failures_mapped(), self._index.reading() as connection:
            row = connection.execute(
                _FIND, {"id": storable_text(file_id), "owner": owner, "now": now}
            ).fetchone()
        return row and _read(row)

    def open(self, file: StoredFile) -> Content | None:
        with _failures_mapped():
            try:
                return self._content(file.id).open("rb")
            except FileNotFoundError:
                return None

    def page(self, query: FileQuery, *, now: float) -> FilePage:
        after = storable_text(query.after) if query.after else None
        values = {**asdict(query), "after": after, "now": now, "most": query.limit + 1}
        with _failures_mapped(), self._index.reading() as connection:
            rows = connection.execute(_PAGE + _ORDERS[query.order], values).fetchall()
        return FilePage(tuple(_read(row) for row in rows[: query.limit]), len(rows) > query.limit)

    def delete(self, file_id: str, *, owner: str) -> bool:
        with _failures_mapped():
            with self._index.writing() as connection:
                statement = "DELETE FROM files WHERE id = :id AND owner = :owner"
                deleted = connection.execute(
                    statement, {"id": storable_text(file_id), "owner": owner}
                ).rowcount
            if deleted:
                self._content(file_id).unlink(missing_ok=True)
        return bool(deleted)

    def clean_up(self, *, now: float) -> int:
        if not self._index.path.exists():
            return self._drafts.sweep(now=now)
        with _failures_mapped():
            with self._index.writing() as connection:
                statement = "DELETE FROM files WHERE expires_at <= :now RETURNING id"
                expired = [row[0] for row in connection.execute(statement, {"now": now})]
            for file_id in expired:
                self._content(file_id).unlink(missing_ok=True)
            return len(expired) + self._drafts.sweep(now=now) + self._sweep_contents(now)

    def close(self) -> None:
        self._index.close()

    def _insert(self, file: StoredFile, limits: RoomLimits) -> None:
        values = {"now": file.created_at, "owner": file.owner, "least": LEAST_BYTES}
        with self._index.writing() as connection:
            (total,) = connection.execute(_TOTAL, values).fetchone()
            if total + file.bytes > limits.total_bytes:
                raise NoRoom(f"{total} of {limits.total_bytes} bytes are taken")
            (owned,) = connection.execute(_OWNED, values).fetchone()
            if owned + room_of(file.bytes) > limits.owner_bytes:
                raise OwnerHasNoRoom(f"{owned} of {limits.owner_bytes} bytes are taken")
            connection.execute(_INSERT, asdict(file))

    def _sweep_contents(self, now: float) -> int:
        """Delete old contents that have no row."""
        old = {
            path.name: path
            for folder in (self._contents.iterdir() if self._contents.is_dir() else ())
            for path in stale_files(folder, now=now)
        }
        with self._index.reading() as connection:
            kept = {row[0] for row in connection.execute("SELECT id FROM files")} if old else set()
        leftovers = old.keys() - kept
        for name in leftovers:
            old[name].unlink(missing_ok=True)
        return len(leftovers)

    def _content(self, file_id: str) -> Path:
        """Where a content lies; ids are our own, and end at random."""
        return self._contents / file_id[-2:] / file_id


def _read(row: tuple[object, ...]) -> StoredFile:
    # Every column has the field's own type.
    return StoredFile(**dict(zip(_NAMES, row, strict=True)))  # type: ignore[arg-type]


@contextmanager
def _failures_mapped() -> Iterator[None]:
    try:
        yield
    except (StoreUnavailable, OSError) as error:
        raise FileStoreUnavailable(str(error)) from error
