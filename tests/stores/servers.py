"""Real servers of the stores, on free loopback ports, with their files in a temporary folder."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from time import monotonic

import psutil
import psycopg
import pytest
import redis

_START_SECONDS = 30.0


@dataclass
class Server:
    """A server that can be frozen, killed and started again on the same port and files."""

    url: str
    command: Sequence[str]
    answers: Callable[[], object]
    user: str | None = None
    process: "subprocess.Popen[bytes] | None" = field(default=None, init=False)

    def start(self) -> None:
        """Return when the server answers."""
        self.process = subprocess.Popen(
            self.command,
            user=self.user,
            group=self.user,
            extra_groups=None if self.user is None else [],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = monotonic() + _START_SECONDS
        while True:
            try:
                self.answers()
            except (psycopg.Error, redis.RedisError):
                if monotonic() > deadline or self.process.poll() is not None:
                    raise
                Event().wait(0.02)
            else:
                return

    def kill(self) -> None:
        """As a power cut would; the files stay."""
        for process in self._family():
            with suppress(psutil.NoSuchProcess):
                process.kill()
        if self.process is not None:
            self.process.wait()
            self.process = None

    def freeze(self) -> None:
        """Sockets stay open, and nothing is answered."""
        for process in self._family():
            process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        for process in self._family():
            process.send_signal(signal.SIGCONT)

    def _family(self) -> list[psutil.Process]:
        if self.process is None:
            return []
        server = psutil.Process(self.process.pid)
        return [server, *server.children(recursive=True)]


@contextmanager
def redis_server(*options: str, configuration: Path | None = None) -> Iterator[Server]:
    """A Redis, or with a `configuration` file a sentinel."""
    program, port = find_program("redis-server"), free_port()
    with temporary_folder() as folder:
        first = [str(configuration), "--sentinel"] if configuration else ["--save", "", "--appendonly", "no"]
        places = ["--port", str(port), "--bind", "127.0.0.1", "--dir", folder]
        url = f"redis://127.0.0.1:{port}/0"
        command = [program, *first, *places, *options]
        with running(Server(url, command, lambda: _ping_redis(url))) as server:
            yield server


@contextmanager
def postgres_server() -> Iterator[Server]:
    initdb, program, port = find_program("initdb"), find_program("postgres"), free_port()
    # PostgreSQL refuses to run as root.
    user = "postgres" if os.geteuid() == 0 else None
    with temporary_folder(user) as folder:
        subprocess.run(
            [initdb, "-D", folder, "-A", "trust", "-U", "opendify", "-E", "UTF8", "--locale=C", "--no-sync"],
            user=user,
            group=user,
            check=True,
            stdout=subprocess.DEVNULL,
            cwd=folder,
        )
        options = f"-D {folder} -p {port} -c listen_addresses=127.0.0.1 -c fsync=off".split()
        url = f"postgresql://opendify@127.0.0.1:{port}/postgres"
        command = [program, *options, "-c", "unix_socket_directories="]
        with running(Server(url, command, lambda: _ping_postgres(url), user)) as server:
            yield server


@contextmanager
def running(server: Server) -> Iterator[Server]:
    server.start()
    try:
        yield server
    finally:
        server.kill()


def find_program(name: str) -> str:
    """The program's path; where it is missing the test is skipped, in CI it fails."""
    places = [str(path) for path in sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)]
    found = shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", ""), *places]))
    if found is None and os.environ.get("CI"):
        pytest.fail(f"{name} is not installed")
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@contextmanager
def temporary_folder(user: str | None = None) -> Iterator[str]:
    # Not below pytest's, which no other user may enter.
    with tempfile.TemporaryDirectory(prefix="opendify-") as folder:
        if user is not None:
            shutil.chown(folder, user, user)
        yield folder


def _ping_redis(url: str) -> None:
    with redis.Redis.from_url(url) as client:
        client.ping()


def _ping_postgres(url: str) -> None:
    psycopg.connect(url).close()
