"""Starting, pinning, measuring and stopping the processes of a benchmark."""

import contextlib
import os
import resource
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO

import psutil

PROJECT = Path(__file__).resolve().parent.parent
_STOP_SECONDS = 10.0
_START_SECONDS = 30.0
_POLL_SECONDS = 0.05


class CannotStart(Exception):
    """A process ended, or did not listen in time."""


def mock_core() -> int:
    """Where the mock runs: the last core, so that the first is the target's alone."""
    return max(os.sched_getaffinity(0))


def load_core() -> int:
    """Where the load generator runs: beside the mock, or on a core of its own where there are three."""
    cores = sorted(os.sched_getaffinity(0))
    return cores[-2] if len(cores) > 2 else cores[-1]


def target_core() -> int:
    """Where the target runs."""
    return min(os.sched_getaffinity(0))


@contextlib.contextmanager
def started(
    command: Sequence[str | Path],
    *,
    core: int,
    log: Path,
    environment: Mapping[str, str] | None = None,
    output: int | IO[bytes] | None = None,
) -> Iterator[subprocess.Popen[bytes]]:
    """A process on one core, stopped with all its children at the end.

    It gets no terminal's Ctrl-C: the benchmark gets it and stops what it started.
    """
    pinned = ["taskset", "--cpu-list", str(core)] if shutil.which("taskset") else []
    with log.open("ab") as log_file:
        process = subprocess.Popen(  # noqa: S603 - The project's own programs.
            [*pinned, *map(str, command)],
            cwd=PROJECT,
            env={**_plain_environment(), **(environment or {})},
            stdin=subprocess.PIPE,
            stdout=log_file if output is None else output,
            stderr=log_file,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        _stop(process)


def wait_until_listening(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    """Return once `port` takes connections.

    Raises:
        CannotStart: With the end of its log.
    """
    deadline = time.monotonic() + _START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(_POLL_SECONDS)
    raise CannotStart(f"nothing listens; the last it said:\n{log.read_text()[-2_000:]}")


def raise_file_limit() -> None:
    """As many sockets as the system allows, for this process and all that it starts."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def free_port() -> int:
    """A loopback port that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def find_listener(port: int) -> int | None:
    """The process that serves a port; of a server and its workers the eldest."""
    listening = [
        psutil.Process(connection.pid)
        for connection in psutil.net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN and connection.laddr[1:] == (port,) and connection.pid
    ]
    return min(listening, key=psutil.Process.create_time).pid if listening else None


def cpu_seconds(pid: int) -> float:
    """CPU time of the process tree, without children that have ended."""
    return sum(_cpu_clock(process.pid) for process in _tree(pid))


def _cpu_clock(pid: int) -> float:
    # `/proc` counts in ticks of 10 ms; this is `clock_getcpuclockid`, which Python does not offer.
    with contextlib.suppress(OSError):
        return time.clock_gettime(~pid << 3 | 2)
    return 0.0


def core_busy_seconds(core: int) -> float:
    """How long anybody, other guests of the host included, used this core."""
    times = psutil.cpu_times(percpu=True)[core]
    return sum(times) - times.idle - times.iowait - times.guest - times.guest_nice


def memory_mb(pid: int) -> float:
    """Memory of the process tree; what processes share is counted once (PSS)."""
    total = 0
    for process in _tree(pid):
        with contextlib.suppress(psutil.NoSuchProcess):
            total += process.memory_full_info().pss
    return total / 1e6


def _tree(pid: int) -> list[psutil.Process]:
    try:
        root = psutil.Process(pid)
        return [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _stop(process: subprocess.Popen[bytes]) -> None:
    tree = _tree(process.pid)
    process.terminate()
    try:
        process.communicate(timeout=_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
    # Children that outlived their parent; psutil never signals a process that took over an id.
    for survivor in psutil.wait_procs(tree, timeout=1)[1]:
        with contextlib.suppress(psutil.NoSuchProcess):
            survivor.kill()


def _plain_environment() -> dict[str, str]:
    """What programs need to run; nothing that configures OpenDify."""
    return {name: text for name in ("PATH", "HOME", "LANG", "TMPDIR") if (text := os.environ.get(name))}
