"""How many instructions one streamed request takes, watched or not: the exporting thread's among them."""

import gc
import itertools
import os
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NoReturn

import msgspec

from benchmarks.instructions import run_counted
from benchmarks.one_thread import answer_requests, environment
from benchmarks.targets import mock_dify
from opendify.settings import load_settings
from opendify.telemetry.metrics import METRICS

_WARM_UP, _FEW, _MANY = 3, 20, 120
_TIMES = 3

PROGRAM: Final = "from benchmarks.watched_work import work; work()"
"""What is counted; its argument are the whole settings of all servers, as JSON."""

Servers = Mapping[str, Mapping[str, str]]
"""Settings by the name of what they make."""


def instructions_a_request(servers: Servers) -> dict[str, int]:
    """Of each of these servers, counted by valgrind.

    Raises:
        CannotCount: Valgrind is missing, or its run failed.
    """
    with tempfile.TemporaryDirectory(prefix="watched-") as name, mock_dify(Path(name)) as mock:
        told = {
            server: {**environment(Path(name), mock.door.port), **more} for server, more in servers.items()
        }
        program = "from benchmarks.watched_work import work; work()"
        printed, collected = run_counted(program, msgspec.json.encode(told).decode())
    least: dict[tuple[str, int], int] = {}
    for line in printed.splitlines():
        pid, requests, server = line.split()
        case = server, int(requests)
        # What else a process does, like collecting garbage, only adds to it.
        least[case] = min(collected[int(pid)], least.get(case, sys.maxsize))
    return {name: round((least[name, _MANY] - least[name, _FEW]) / (_MANY - _FEW)) for name in servers}


def work() -> None:
    """What is counted: few requests and many of each server, every time in a fork of its own.

    What both do, like loading and opening, drops out of their difference. Prints a line of each fork: its
    process id, how many requests, of which server.
    """
    servers = msgspec.json.decode(sys.argv[1], type=dict[str, dict[str, str]])
    shown = os.dup(1)
    with Path(os.devnull).open("wb") as nowhere:
        os.dup2(nowhere.fileno(), 1)
        os.dup2(nowhere.fileno(), 2)
    answer_requests(next(iter(servers.values())), _WARM_UP, whole=False)
    # When the collector last ran would else decide how much it has to look at.
    gc.collect()
    gc.freeze()
    for (name, environ), requests in itertools.product(servers.items(), (_FEW, _MANY) * _TIMES):
        pid = os.fork()
        if not pid:
            _answer(environ, requests)
        os.waitpid(pid, 0)
        os.write(shown, f"{pid} {requests} {name}\n".encode())


def _answer(environ: Mapping[str, str], requests: int) -> NoReturn:
    """As a worker does, with its numbers in a file that others may read."""
    if load_settings(environ).metrics.enabled:
        folder = os.environ["PROMETHEUS_MULTIPROC_DIR"] = tempfile.mkdtemp(dir=environ["DATA_DIR"])
        METRICS.join(Path(folder), "worker")
    answer_requests(environ, requests, whole=False)
    # By the usual way out, on which what is left is exported.
    sys.exit()
