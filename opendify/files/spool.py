"""A file for the time of one request: in memory while it is small, then on this machine's disk."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from tempfile import SpooledTemporaryFile

from opendify.errors import FileStorageUnavailable

logger = logging.getLogger(__name__)


class Spool:
    """To be written, then finished, then read as `file`; closing it deletes it."""

    def __init__(self, in_memory_bytes: int) -> None:
        self.file = SpooledTemporaryFile[bytes](in_memory_bytes)

    def write(self, piece: bytes) -> None:
        """Add `piece`.

        Raises:
            FileStorageUnavailable: The disk is full, or does not work.
        """
        with _failures_mapped():
            self.file.write(piece)

    def finish(self) -> None:
        """Nothing more will be written; raises as `write` does."""
        with _failures_mapped():
            self.file.flush()

    def close(self) -> None:
        """Delete it."""
        with suppress(OSError):  # What is deleted need not be written.
            self.file.close()


@contextmanager
def _failures_mapped() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        logger.error("a request's file cannot be written to the temporary folder", exc_info=error)  # noqa: TRY400 - It says where.
        raise FileStorageUnavailable(
            "The file cannot be taken at the moment: this server's disk has no room for it."
        ) from error
