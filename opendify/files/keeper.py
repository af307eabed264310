"""Callers' files, kept by an operator's rules: limits, expiry, and failures as clients see them."""

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from opendify.errors import (
    FileNotStored,
    FileQuotaExceeded,
    FileStorageFull,
    FileStorageUnavailable,
    RequestTooLarge,
)
from opendify.files.base import (
    Content,
    FilePage,
    FileQuery,
    FileStore,
    FileStoreUnavailable,
    NewFile,
    RoomLimits,
    StoredFile,
    new_file_id,
)
from opendify.files.drafts import Draft, DraftTooLarge, NoRoom, OwnerHasNoRoom
from opendify.files.names import plain_file_name
from opendify.records import Caller, Clock
from opendify.settings.files import FileSettings

_INTERVAL_SECONDS: Final = 600.0

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class FileFacts:
    """What whoever brings a file says of it; `filename` may be anything."""

    filename: str
    purpose: str
    mime_type: str = "application/octet-stream"
    expires_after_seconds: float | None = None


class FileKeeper:
    """What callers can do with files; each sees only their own. `now` is Unix time."""

    def __init__(
        self,
        store: FileStore,
        settings: FileSettings,
        *,
        now: Clock = time.time,
        interval_seconds: float = _INTERVAL_SECONDS,
    ) -> None:
        """Every `interval_seconds`, at most, it is cleaned up."""
        self._store = store
        self._settings = settings
        self._limits = RoomLimits(settings.max_total_bytes, settings.max_bytes_per_key)
        self._now = now
        self._interval_seconds = interval_seconds
        self._closed = threading.Event()
        self._clean_up_at = 0.0
        self._lock = threading.Lock()

    def draft(self, most_bytes: int | None = None) -> Draft:
        """A file to write to, of at most so many bytes, or as many as an upload may have.

        To be kept, and to be closed. Whoever writes to it does so inside `file_failures_mapped`.
        """
        most_bytes = self._settings.max_bytes if most_bytes is None else most_bytes
        with file_failures_mapped():
            return self._store.draft(most_bytes)

    def keep(self, draft: Draft, caller: Caller, facts: FileFacts) -> StoredFile:
        """Keep what was written.

        Raises:
            FileQuotaExceeded: The caller has no room left.
            FileStorageFull: Nobody has.
            FileStorageUnavailable: The store does not answer.
        """
        self.remind()
        now = self._now()
        new = NewFile(
            id=new_file_id(now),
            owner=caller.id,
            filename=plain_file_name(facts.filename),
            purpose=facts.purpose,
            mime_type=facts.mime_type,
            created_at=int(now),
            expires_at=self._settings.expires_at(now, facts.expires_after_seconds),
        )
        with file_failures_mapped():
            return self._store.save(draft, new, self._limits)

    def get(self, file_id: str, caller: Caller) -> StoredFile:
        """One of the caller's files.

        Raises:
            FileNotStored: The caller has none with this id.
        """
        with file_failures_mapped():
            found = self._store.find(file_id, owner=caller.id, now=self._now())
        if found is None:
            raise no_such_file(file_id)
        return found

    def open(self, file: StoredFile) -> Content:
        """The file's content, to be closed.

        Raises:
            FileNotStored: It was deleted meanwhile.
        """
        with file_failures_mapped():
            content = self._store.open(file)
        if content is None:
            raise no_such_file(file.id)
        return _ReadContent(content)

    def page(self, query: FileQuery) -> FilePage:
        """Some of an owner's files."""
        self.remind()
        with file_failures_mapped():
            return self._store.page(query, now=self._now())

    def delete(self, file_id: str, caller: Caller) -> None:
        """Delete one of the caller's files.

        Raises:
            FileNotStored: The caller has none with this id.
        """
        with file_failures_mapped():
            deleted = self._store.delete(file_id, owner=caller.id)
        if not deleted:
            raise no_such_file(file_id)

    def remind(self) -> None:
        """Clean up if it is time, in a thread of its own; never waits."""
        if self._is_due():
            threading.Thread(target=self.clean_up, name="file-housekeeping", daemon=True).start()

    def clean_up_regularly(self) -> None:
        """Clean up until it is closed, also where nobody asks for anything; for a process that serves."""
        threading.Thread(target=self._clean_up_regularly, name="file-housekeeping", daemon=True).start()

    def clean_up(self) -> None:
        """Delete what has expired, and what crashes left behind; a store that is away is left for later."""
        try:
            self._store.clean_up(now=self._now())
        except FileStoreUnavailable:
            logger.warning("expired files could not be deleted", exc_info=True)

    def close(self) -> None:
        """Close what was opened, and clean up no more."""
        self._closed.set()
        self._store.close()

    def _is_due(self) -> bool:
        with self._lock:
            is_due = self._now() >= self._clean_up_at
            if is_due:
                self._clean_up_at = self._now() + self._interval_seconds
            return is_due

    def _clean_up_regularly(self) -> None:
        while not self._closed.wait(self._interval_seconds):
            if self._is_due():
                self.clean_up()


class _ReadContent:
    """A content whose failures are those that clients may see."""

    def __init__(self, content: Content) -> None:
        self._content = content

    def read(self, size: int, /) -> bytes:
        with file_failures_mapped():
            return self._content.read(size)

    def close(self) -> None:
        self._content.close()


def no_such_file(file_id: str) -> FileNotStored:
    """OpenAI's words for an id that is nobody's, or another's."""
    return FileNotStored(f"No such File object: {plain_file_name(file_id)[:100]}", param="id")


@contextmanager
def file_failures_mapped() -> Iterator[None]:
    """Failures of files as clients may see them."""
    try:
        yield
    except DraftTooLarge as error:
        raise RequestTooLarge(f"The file is too large: {error}.", param="file") from error
    except OwnerHasNoRoom as error:
        raise FileQuotaExceeded(
            f"This API key may keep no more files: {error}. Delete some, or let them expire.", param="file"
        ) from error
    except NoRoom as error:
        logger.error("there is no room for a file", exc_info=error)  # noqa: TRY400 - It says where.
        raise FileStorageFull("There is no room for more files; delete some, or ask the operator.") from error
    except (FileStoreUnavailable, OSError) as error:
        logger.error("files are not available", exc_info=error)  # noqa: TRY400 - As above.
        raise FileStorageUnavailable("Files cannot be read or written at the moment.") from error
