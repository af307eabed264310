"""A process's way into one SQLite file: opened late, locked, never taken across a fork."""

import math
import os
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from threading import Lock
from typing import Final
from weakref import WeakSet

from opendify.records import Clock
from opendify.stores.base import StoreUnavailable
from opendify.stores.migrations.sqlite import migrate

_LOOK_AGAIN_SECONDS: Final = 1.0
_REFUSE_SECONDS: Final = 0.5

Values = Mapping[str, object] | Sequence[object]
"""Of a statement's parameters: by name, or in their order, which takes fewer steps."""


class SQLiteFile:
    """One connection of this process, behind a lock, opened when it is first needed.

    After an error the connection is closed and the next use opens another, so that
    a full disk, a replaced file or a repaired one needs no restart. `steps` is the
    schema, `clock` a monotonic one.
    """

    def __init__(
        self,
        path: Path,
        steps: Sequence[Sequence[str]],
        busy_timeout_seconds: float,
        clock: Clock,
        *,
        pragmas: Sequence[str] = (),
        indexes: Sequence[str] = (),
    ) -> None:
        """`pragmas` are more of them, for each connection.

        `indexes` are statements that do nothing where they were carried out before.
        """
        self.path = path
        self._steps = steps
        self._pragmas = pragmas
        self._indexes = indexes
        self._busy_timeout_seconds = busy_timeout_seconds
        self._clock = clock
        self._lock = Lock()
        self._connection: sqlite3.Connection | None = None
        self._identity: tuple[int, int] | None = None
        self._look_again_at = 0.0
        self._refuse_until = -math.inf
        _files.add(self)

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """The connection, for statements that only read."""
        with self._locked():
            try:
                yield self._opened()
            except (sqlite3.Error, OSError) as error:
                raise self._failed(error) from error

    def run(self, statement: str, values: Values) -> tuple[list[tuple[object, ...]], int]:
        """One statement, which is a transaction by itself: its rows, and how many it changed.

        As `reading`, in fewer steps.
        """
        self._take_turn()
        try:
            done = self._opened().execute(statement, values)
            return done.fetchall(), done.rowcount
        except (sqlite3.Error, OSError) as error:
            raise self._failed(error) from error
        finally:
            self._lock.release()

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """The connection, in a transaction that holds the file's write lock from its start."""
        with self._locked():
            try:
                connection = self._opened()
                # A transaction that reads first and then writes can fail as busy without waiting.
                connection.execute("BEGIN IMMEDIATE")
                yield connection
                connection.execute("COMMIT")
            except (sqlite3.Error, OSError) as error:
                raise self._failed(error) from error
            except BaseException:
                self._drop()
                raise

    @contextmanager
    def aside(self) -> Iterator[sqlite3.Connection]:
        """A connection of its own, for what takes long and must not hold up the chats."""
        with self.reading():
            pass
        try:
            with closing(self._connect()) as connection:
                yield connection
        except sqlite3.Error as error:
            raise StoreUnavailable(f"{self.path}: {error}") from error

    def close(self) -> None:
        """Close the connection; the next use opens another."""
        with self._lock:
            self._drop()

    def before_fork(self) -> None:
        """Close the connection, and let no thread open another until the fork is over.

        SQLite keeps its file locks by process: a child that inherits a connection
        believes in locks that it does not hold.

        Source: https://www.sqlite.org/howtocorrupt.html, section 2.6
        """
        self._lock.acquire()
        self._drop()

    def after_fork(self) -> None:
        """Let parent and child open their own."""
        self._lock.release()

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self._take_turn()
        try:
            yield
        finally:
            self._lock.release()

    def _take_turn(self) -> None:
        """This process's lock; while somebody else keeps the file locked, nobody waits in line for it."""
        if self._clock() < self._refuse_until or not self._lock.acquire(timeout=self._busy_timeout_seconds):
            raise StoreUnavailable(f"{self.path}: database is locked")

    def _opened(self) -> sqlite3.Connection:
        if self._connection is not None and self._was_replaced():
            self._drop()
        if self._connection is None:
            self._connection = self._open()
            self._identity = _identity(self.path)
        return self._connection

    def _was_replaced(self) -> bool:
        """Whether somebody put another file, a backup perhaps, in this one's place."""
        now = self._clock()
        if now < self._look_again_at:
            return False
        self._look_again_at = now + _LOOK_AGAIN_SECONDS
        return _identity(self.path) != self._identity

    def _open(self) -> sqlite3.Connection:
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # The `-wal` and `-shm` files take over the mode of the file.
        os.close(os.open(self.path, os.O_CREAT | os.O_RDWR, 0o600))
        connection = self._connect()
        try:
            _use_wal(connection, self._busy_timeout_seconds)
            migrate(connection, self.path, self._steps)
            for statement in self._indexes:
                connection.execute(statement)
        except BaseException:
            connection.close()
            raise
        return connection

    def _connect(self) -> sqlite3.Connection:
        return _connect(self.path, self._busy_timeout_seconds, self._pragmas)

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(sqlite3.Error):
                connection.close()

    def _failed(self, error: Exception) -> StoreUnavailable:
        self._drop()
        if getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY:
            self._refuse_until = self._clock() + _REFUSE_SECONDS
        return StoreUnavailable(f"{self.path}: {error}")


def _connect(path: Path, busy_timeout_seconds: float, pragmas: Sequence[str]) -> sqlite3.Connection:
    connection = sqlite3.connect(
        path, timeout=busy_timeout_seconds, isolation_level=None, check_same_thread=False
    )
    # After a power cut the last turns may be missing, never damaged: they would be replayed.
    connection.execute("PRAGMA synchronous = NORMAL")
    # Four times SQLite's own: turns hit random pages, which fewer and larger checkpoints write once.
    connection.execute("PRAGMA wal_autocheckpoint = 4000")
    connection.execute("PRAGMA cache_size = -8000")
    for pragma in pragmas:
        connection.execute(pragma)
    return connection


def _use_wal(connection: sqlite3.Connection, busy_timeout_seconds: float) -> None:
    """Switch a new file to WAL; the switch does not wait for other processes by itself."""
    deadline = time.monotonic() + busy_timeout_seconds
    while True:
        try:
            # Without this, which only an empty file takes, `optimize` could not give back space.
            connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


_files: WeakSet[SQLiteFile] = WeakSet()
_held_for_fork: list[SQLiteFile] = []


def _before_fork() -> None:
    for file in list(_files):
        file.before_fork()
        _held_for_fork.append(file)


def _after_fork() -> None:
    while _held_for_fork:
        _held_for_fork.pop().after_fork()


os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork)
