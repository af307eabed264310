"""What a file store holds and does; a module a back end."""

import secrets
from dataclasses import dataclass
from typing import Final, Literal, Protocol

from opendify.files.drafts import Draft

Order = Literal["asc", "desc"]


class FileStoreUnavailable(Exception):
    """The store cannot be reached or cannot answer; the cause is kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewFile:
    """What is known of a file beside its content.

    `owner` is the caller's `id`; nobody else finds the file. Times are whole Unix
    seconds; an `expires_at` of None is never. `filename` is a name without a path.
    """

    id: str
    owner: str
    filename: str
    purpose: str
    mime_type: str
    created_at: int
    expires_at: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredFile(NewFile):
    """A file that is kept; `sha256` is in hexadecimal."""

    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class FilePage:
    """Some of an owner's files, and whether more follow."""

    files: tuple[StoredFile, ...]
    has_more: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class FileQuery:
    """Which of an owner's files: `limit` of them behind the id `after`, by age."""

    owner: str
    after: str | None = None
    limit: int = 10_000
    order: Order = "desc"
    purpose: str | None = None


class Content(Protocol):
    """A file's bytes, to be closed."""

    def read(self, size: int, /) -> bytes:
        """The next bytes, at most `size`; none at the end."""
        ...

    def close(self) -> None:
        """Let go of it."""
        ...


LEAST_BYTES: Final = 4_096
"""What is known of a file takes room too: for its owner a small one counts so much."""


@dataclass(frozen=True, slots=True)
class RoomLimits:
    """How many bytes all files together may take, and those of one owner."""

    total_bytes: int
    owner_bytes: int


class FileStore(Protocol):
    """Shared by all threads, processes and machines that serve the same callers.

    A file is there as a whole or not at all, whenever a process dies. What has
    expired is never found, and is deleted by `clean_up` at the latest. Every method
    may raise `FileStoreUnavailable`.
    """

    def draft(self, most_bytes: int) -> Draft:
        """An empty file to write to, of at most so many bytes; to be saved, and to be closed.

        Raises:
            NoRoom: The disk is full.
        """
        ...

    def save(self, draft: Draft, new: NewFile, limits: RoomLimits) -> StoredFile:
        """Keep what was written, as `new`.

        Raises:
            OwnerHasNoRoom: The owner's files would take more than they may.
            NoRoom: The disk is full, or all files together would take more than they may.
        """
        ...

    def find(self, file_id: str, *, owner: str, now: float) -> StoredFile | None:
        """One of the owner's files."""
        ...

    def open(self, file: StoredFile) -> Content | None:
        """The content, to be closed; None where it was deleted meanwhile."""
        ...

    def page(self, query: FileQuery, *, now: float) -> FilePage:
        """Some of the owner's files."""
        ...

    def delete(self, file_id: str, *, owner: str) -> bool:
        """Delete one of the owner's files; whether there was one. Who reads it just now may go on."""
        ...

    def clean_up(self, *, now: float) -> int:
        """Delete what has expired, and what crashes left behind; how many files that were."""
        ...

    def close(self) -> None:
        """Close this process's connections; the next use opens others."""
        ...


def room_of(size: int) -> int:
    """What a file of `size` bytes counts for its owner."""
    return max(size, LEAST_BYTES)


def new_file_id(now: float) -> str:
    """An id that cannot be guessed; ids sort by the milliseconds at which they were made."""
    return f"file-{int(now * 1000):012x}{secrets.token_hex(12)}"
