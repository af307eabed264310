"""Connections to PostgreSQL: a few a process, opened late, given up on soon."""

import os
import select
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from threading import Lock
from time import monotonic
from typing import Final, LiteralString, TypeVar

import psycopg
from psycopg.abc import PQGen
from psycopg.conninfo import conninfo_to_dict
from psycopg_pool import ConnectionPool, PoolTimeout

from opendify.stores.base import StoreUnavailable
from opendify.stores.migrations.postgres import VERSION_TABLE, migrate

_MAX_CONNECTIONS: Final = 8
_TIMEOUT_SECONDS: Final = 1.0
_SLOW_TIMEOUT_SECONDS: Final = 60.0
_REFUSE_SECONDS: Final = 0.5

_FORM: Final = "a PostgreSQL URL is postgresql://USER:PASSWORD@HOST:5432/DATABASE"

_Result = TypeVar("_Result")
Row = tuple[object, ...]


class ImpatientConnection(psycopg.Connection[Row]):
    """Gives up on a server that keeps its sockets open and does not answer."""

    timeout_seconds: float = _TIMEOUT_SECONDS
    waited_in_vain: bool = False
    """Whether it gave up so."""

    def wait(self, gen: PQGen[_Result], interval: float = 0.1, timeout: float | None = None) -> _Result:
        limit, began_at = self.timeout_seconds if timeout is None else timeout, monotonic()
        try:
            return super().wait(gen, interval, limit)
        except psycopg.Error:
            self.waited_in_vain = monotonic() - began_at >= limit
            raise


# By URL: until when no store waits for it, since it let one of them wait for nothing.
_refused_until: Final[dict[str, float]] = {}


class PostgresPool:
    """This process's connections; the first use migrates the database.

    `version_table` counts the `steps` that it has had.

    Raises:
        ValueError: `url` is none that PostgreSQL's client understands.
    """

    def __init__(
        self,
        url: str,
        steps: Sequence[Sequence[LiteralString]],
        *,
        version_table: LiteralString = VERSION_TABLE,
    ) -> None:
        try:
            ports = str(conninfo_to_dict(url).get("port") or "").split(",")
        except psycopg.Error:
            raise ValueError(_FORM) from None
        if not all(port.isdecimal() or not port for port in ports):
            raise ValueError(_FORM)
        self._url = url
        self._steps = steps
        self._version_table = version_table
        self._by_process: dict[int, _OfProcess] = {}

    @contextmanager
    def connection(self, *, slow: bool = False) -> Iterator[ImpatientConnection]:
        """A connection in autocommit mode; `slow` is for what reads the whole table."""
        try:
            with self._mine().connection(self._migrate) as connection:
                connection.timeout_seconds = _SLOW_TIMEOUT_SECONDS if slow else _TIMEOUT_SECONDS
                yield connection
        except psycopg.Error as error:
            raise StoreUnavailable(f"PostgreSQL: {error}") from error

    def close(self) -> None:
        """Close this process's connections."""
        mine = self._by_process.pop(os.getpid(), None)
        if mine is not None:
            mine.close()

    def _migrate(self, connection: ImpatientConnection) -> None:
        migrate(connection, self._steps, self._version_table)

    def _mine(self) -> "_OfProcess":
        # A pool does not survive a fork; the parent's is left alone.
        pid = os.getpid()
        return self._by_process.get(pid) or self._by_process.setdefault(pid, _OfProcess(self._url))


class _OfProcess:
    def __init__(self, url: str) -> None:
        self._lock = Lock()
        self._is_migrated = False
        self._is_open = False
        self._url = url
        self._in_use: set[ImpatientConnection] = set()
        self._pool = ConnectionPool(
            url,
            connection_class=ImpatientConnection,
            # Behind PgBouncer, the next statement may reach a server that has not prepared it.
            kwargs={"autocommit": True, "connect_timeout": 2, "prepare_threshold": None},
            min_size=0,
            max_size=_MAX_CONNECTIONS,
            num_workers=2,
            timeout=_TIMEOUT_SECONDS,
            # Every call tries anew; a schedule of its own would make recovery late.
            reconnect_timeout=0,
            open=False,
            name="conversations",
        )

    @contextmanager
    def connection(self, migrate: Callable[[ImpatientConnection], None]) -> Iterator[ImpatientConnection]:
        if monotonic() < _refused_until.get(self._url, 0.0):
            raise psycopg.OperationalError("it did not answer a moment ago")
        with self._lock:
            if not self._is_open:
                self._pool.open()
                self._is_open = True
        connection = self._live_connection()
        self._in_use.add(connection)
        try:
            self._migrate_once(connection, migrate)
            yield connection
        except psycopg.errors.UndefinedTable:
            # Somebody dropped or restored the database; the next use looks again.
            self._is_migrated = False
            raise
        except BaseException:
            # It may be in the middle of a statement.
            connection.close()
            if connection.waited_in_vain:
                self._refuse_for_a_moment()
            raise
        finally:
            self._in_use.discard(connection)
            self._pool.putconn(connection)

    def _live_connection(self) -> ImpatientConnection:
        # The pool's own `check` waits for a second once it has met a dead connection.
        connection = self._next_connection()
        while _has_hung_up(connection):
            connection.close()
            self._pool.putconn(connection)
            connection = self._next_connection()
        return connection

    def _next_connection(self) -> ImpatientConnection:
        try:
            return self._pool.getconn()
        except PoolTimeout:
            # Where some are in use, the pool is busy; where none is, the server is away, and
            # not every thread shall wait for it.
            if not self._in_use:
                self._refuse_for_a_moment()
            raise

    def _refuse_for_a_moment(self) -> None:
        _refused_until[self._url] = monotonic() + _REFUSE_SECONDS

    def close(self) -> None:
        self._pool.close()

    def _migrate_once(
        self, connection: ImpatientConnection, migrate: Callable[[ImpatientConnection], None]
    ) -> None:
        if self._is_migrated:
            return
        connection.timeout_seconds = _SLOW_TIMEOUT_SECONDS
        migrate(connection)
        self._is_migrated = True


def _has_hung_up(connection: ImpatientConnection) -> bool:
    """Whether the server closed an idle connection, told without a round trip: else it is silent."""
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    return bool(poll.poll(0))
