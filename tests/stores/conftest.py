"""The stores that the suite runs over."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import psycopg
import pytest
import redis

from opendify.stores import ConversationStore, open_store
from tests.fakes.memory_store import MemoryStore
from tests.stores.servers import Server, postgres_server, redis_server

SQLITE_URL = "sqlite:///data/conversations.db"
SHARED = ("sqlite", "redis", "postgresql")


@pytest.fixture(scope="session")
def servers() -> Iterator[dict[str, Server]]:
    """Those that were asked for so far; `store_url` starts the others."""
    with ExitStack() as stack:
        running = _Running(stack)
        yield running


class _Running(dict[str, Server]):
    def __init__(self, stack: ExitStack) -> None:
        super().__init__()
        self._stack = stack

    def __missing__(self, kind: str) -> Server:
        started = self._stack.enter_context({"redis": redis_server, "postgresql": postgres_server}[kind]())
        self[kind] = started
        return started


def emptied_url(kind: str, servers: dict[str, Server]) -> str:
    """The URL of a store of this kind that holds nothing."""
    match kind:
        case "redis":
            with redis.Redis.from_url(servers[kind].url) as client:
                client.flushall()
        case "postgresql":
            with psycopg.connect(servers[kind].url, autocommit=True) as connection:
                connection.execute("SET client_min_messages = warning")
                connection.execute("DROP SCHEMA IF EXISTS opendify CASCADE")
        case _:
            return SQLITE_URL
    return servers[kind].url


@pytest.fixture(params=SHARED)
def store_url(request: pytest.FixtureRequest, servers: dict[str, Server]) -> str:
    """A store that processes can share, empty."""
    return emptied_url(request.param, servers)


@pytest.fixture
def shared_store(store_url: str, tmp_path: Path) -> Iterator[ConversationStore]:
    store = open_store(store_url, tmp_path / "data")
    yield store
    store.close()


@pytest.fixture(params=(*SHARED, "memory"))
def store(
    request: pytest.FixtureRequest, servers: dict[str, Server], tmp_path: Path
) -> Iterator[ConversationStore]:
    """Each kind of store, empty."""
    if request.param == "memory":
        yield MemoryStore()
        return
    store = open_store(emptied_url(request.param, servers), tmp_path / "data")
    yield store
    store.close()
