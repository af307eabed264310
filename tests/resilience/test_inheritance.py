"""Nothing that is open crosses the fork: neither a connection nor a database."""

from collections.abc import Iterator
from itertools import combinations

import psutil
import pytest

from tests.resilience.crowds import PatientDify, asking, assert_all_whole, statuses
from tests.resilience.server import RunningServer, running_server
from tests.stores.servers import redis_server

WORKERS = 3
CHATS = 4 * WORKERS
THREADS = 8  # Fewer than there are chats, so that no worker can have them all.

Connection = tuple[object, object]


@pytest.fixture(params=["redis", "sqlite"])
def server(request: pytest.FixtureRequest, patient: PatientDify) -> Iterator[RunningServer]:
    told = {"GUNICORN_WORKERS": str(WORKERS), "GUNICORN_THREADS": str(THREADS), "QUEUE_SECONDS": "0"}
    if request.param == "sqlite":
        with running_server(patient.dify, **told) as server:
            yield server
        return
    with (
        redis_server() as redis,
        running_server(patient.dify, **told, CONVERSATION_STORE_URL=redis.url) as server,
    ):
        yield server


def test_no_process_has_a_connection_or_a_database_of_another(
    server: RunningServer, patient: PatientDify
) -> None:
    with asking(server, CHATS) as clients:
        assert statuses(clients) == {200: CHATS}
        master, *workers = _family(server)
        connections = {each.pid: _connections_to_others(each, server.port) for each in (master, *workers)}
        databases = [each for each in master.open_files() if each.path.startswith(str(server.data_dir))]
        patient.finish.set()
        assert_all_whole(clients)

    assert connections.pop(master.pid) == set()
    assert databases == []
    assert len(list(filter(None, connections.values()))) > 1, "there is something to see"
    for one, other in combinations(connections.values(), 2):
        assert one & other == set()


def _family(server: RunningServer) -> list[psutil.Process]:
    return [psutil.Process(server.program.pid), *server.program.workers()]


def _connections_to_others(process: psutil.Process, own_port: int) -> set[Connection]:
    """Those that it, or whoever it has them from, made itself."""
    made = [each for each in process.net_connections("inet") if each.laddr.port != own_port]
    return {(each.laddr, each.raddr) for each in made if each.status != psutil.CONN_LISTEN}
