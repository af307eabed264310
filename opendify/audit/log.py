"""The audit log's files: one line an event, written by many processes, never rewritten."""

import errno
import fcntl
import json
import logging
import os
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from opendify.audit.chain import START, TORN, Finding, Link, read_link, torn_digest, verify, write_entry
from opendify.audit.reading import Snapshot
from opendify.records import Clock
from opendify.telemetry.instruments import STORE_ERRORS

_TAIL_BYTES: Final = 65_536
_MOST_CHARS: Final = 500
_REFUSALS_PER_MINUTE: Final = 300
_LOCK_SECONDS: Final = 2.0
_LOCK_POLL_SECONDS: Final = 0.002
_LEAVE_ALONE_SECONDS: Final = 5.0

logger = logging.getLogger(__name__)
audit = logging.getLogger("opendify.audit")


class AuditLog:
    """Every event is a line in the file, and one in the ordinary log.

    The lock file beside it holds where the chain stands, so that it goes on in a new
    file when the old one is moved away, by this class or by a log rotator. A disk that
    is full, a folder that cannot be written, or a lock that nobody lets go of stops no
    request: it is counted and logged.
    """

    def __init__(
        self, path: Path, *, max_bytes: int = 0, now: Clock = time.time, lock_seconds: float = _LOCK_SECONDS
    ) -> None:
        """`max_bytes` is 0 where the log stays in one file; `now` is Unix time."""
        self._path = path
        self._max_bytes = max_bytes
        self._now = now
        self._lock = threading.Lock()
        self._lock_seconds = lock_seconds
        self._leave_alone_until = float("-inf")
        self._minute = 0
        self._refusals = 0
        self.failures = 0

    def note(self, event: str, **facts: object) -> None:
        """Write what happened: ids, counts and times; never a secret or a person's name."""
        audit.info(event, extra=facts)
        if time.monotonic() < self._leave_alone_until:
            self._count_failure()
            return
        try:
            self._write(event, facts)
        except OSError as error:
            self._count_failure()
            if isinstance(error, TimeoutError):
                self._leave_alone_until = time.monotonic() + _LEAVE_ALONE_SECONDS
            logger.error("the audit log cannot be written", extra={"error": error.strerror})  # noqa: TRY400 - Known.

    def _count_failure(self) -> None:
        self.failures += 1
        STORE_ERRORS.add("audit_log")

    def note_refusal(self, event: str, **facts: object) -> None:
        """As `note`, for what strangers can cause: beyond so many in a minute they are only counted."""
        minute = int(self._now() // 60)
        with self._lock:
            if minute != self._minute:
                left_out, self._refusals = self._refusals - _REFUSALS_PER_MINUTE, 0
                self._minute = minute
            else:
                left_out = 0
            self._refusals += 1
            is_too_much = self._refusals > _REFUSALS_PER_MINUTE
        if left_out > 0:
            self.note("refusals left out", count=left_out)
        if not is_too_much:
            self.note(event, **facts)

    def verify(self) -> tuple[Link, Sequence[Finding]]:
        """Where the chain stands, and what is wrong with the log.

        Raises:
            OSError: It cannot be read.
        """
        with self._locked() as lock:
            head, snapshot = _read_head(lock), Snapshot(self._path)
        # Reading a long log takes long, and meanwhile others must write on.
        with snapshot:
            return head, list(verify(snapshot.lines(), None if head == START else head))

    def _write(self, event: str, facts: dict[str, object]) -> None:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._locked() as lock:
            unended, last = _read_tail(self._path)
            before = max(_read_head(lock), last, key=lambda link: link.number)
            shown = {name: _plain(value) for name, value in facts.items()}
            entry = {"at": _instant(self._now()), "event": event, **shown}
            if unended and read_link(unended) is None:
                entry[TORN] = torn_digest(unended)
            line, link = write_entry(before, entry)
            self._rotate(before)
            _append(self._path, ("\n" if unended else "") + line + "\n")
            _write_head(lock, link)

    def _rotate(self, last: Link) -> None:
        if self._max_bytes and self._path.exists() and self._path.stat().st_size >= self._max_bytes:
            self._path.rename(self._path.with_name(f"{self._path.name}.{last.number:012d}"))

    @contextmanager
    def _locked(self) -> Iterator[int]:
        """The lock file, which nobody renames, while nobody else has it."""
        path = self._path.with_name(f"{self._path.name}.lock")
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            _lock(descriptor, self._lock_seconds)
            yield descriptor
        finally:
            os.close(descriptor)


def _lock(descriptor: int, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise TimeoutError(errno.ETIMEDOUT, "somebody holds its lock") from None
            time.sleep(_LOCK_POLL_SECONDS)


def _read_tail(path: Path) -> tuple[str, Link]:
    """What a crash left without a line's end, and the last entry."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _TAIL_BYTES))
            lines = file.read().decode("utf-8", "surrogateescape").split("\n")
    except FileNotFoundError:
        return "", START
    links = (read_link(line) for line in reversed(lines))
    return lines[-1], next((link for link in links if link), START)


def _append(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        content = text.encode("utf-8", "surrogateescape")
        while content:
            content = content[os.write(descriptor, content) :]
    finally:
        os.close(descriptor)


def _read_head(lock: int) -> Link:
    try:
        head = json.loads(os.pread(lock, 1_000, 0))
        return Link(int(head["number"]), str(head["digest"]))
    except (ValueError, TypeError, KeyError):
        return START


def _write_head(lock: int, link: Link) -> None:
    text = json.dumps({"number": link.number, "digest": link.digest})
    os.pwrite(lock, text.encode().ljust(150) + b"\n", 0)


def _instant(unix_seconds: float) -> str:
    return datetime.fromtimestamp(unix_seconds, UTC).isoformat(timespec="milliseconds")


def _plain(value: object) -> object:
    if value is None or isinstance(value, bool | int | float):
        return value
    return str(value)[:_MOST_CHARS]
