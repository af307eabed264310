"""What can stand between the load generator and the mock Dify. A new one is one entry here, or in a file."""

import contextlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import msgspec

from benchmarks.dialects import API_KEY, APP_KEY, MODEL, Door, usual_door
from benchmarks.processes import (
    find_listener,
    free_port,
    mock_core,
    started,
    target_core,
    wait_until_listening,
)

# Enough for all clients of every scenario.
_THREADS = 2_048


class Unavailable(Exception):
    """A target that this machine does not have."""


@dataclass(frozen=True, slots=True)
class Served:
    """A server at work, on one core with all its children."""

    door: Door
    pid: int
    core: int


Target = Callable[[Served, Path], AbstractContextManager[Served]]
"""Starts a server that asks the mock, with a folder to itself."""


@contextlib.contextmanager
def mock_dify(folder: Path, port: int = 0) -> Iterator[Served]:
    """The mock, on its own core; on a free port for 0."""
    command = (sys.executable, "-m", "benchmarks.mock_dify", str(port))
    log = folder / "mock.log"
    with started(command, core=mock_core(), log=log, output=subprocess.PIPE) as process:
        if process.stdout is None:
            raise Unavailable("the mock has no output")
        listening = int(process.stdout.readline() or 0)
        wait_until_listening(process, listening, log)
        yield Served(usual_door(listening, "dify"), process.pid, mock_core())


def opendify(
    *, transport: str, worker_class: str, workers: int = 1, settings: Mapping[str, str] | None = None
) -> Target:
    """The service as it is shipped, but with one worker, room for all clients, and other `settings`."""

    @contextlib.contextmanager
    def serve(mock: Served, folder: Path) -> Iterator[Served]:
        if worker_class == "gevent" and not importlib.util.find_spec("gevent"):
            raise Unavailable("gevent is not installed")
        port = free_port()
        environment = {
            "SERVER_HOST": "127.0.0.1",
            "SERVER_PORT": str(port),
            "ENVIRONMENT": "production",
            "GUNICORN_WORKERS": str(workers),
            "GUNICORN_WORKER_CLASS": worker_class,
            "GUNICORN_THREADS": str(_THREADS),
            "DATA_DIR": str(folder),
            "DIFY_TRANSPORT": transport,
            "DIFY_API_BASE": f"http://127.0.0.1:{mock.door.port}/v1",
            "MODEL_CONFIG": json.dumps({MODEL: {"api_key": APP_KEY}}),
            "API_KEYS": f"bench:{API_KEY}",
            **(settings or {}),
        }
        command = (sys.executable, "-m", "gunicorn", "-c", "gunicorn_config.py", "main:app")
        log = folder / "opendify.log"
        with started(command, core=target_core(), log=log, environment=environment) as process:
            wait_until_listening(process, port, log)
            yield Served(usual_door(port, "openai"), process.pid, target_core())

    return serve


_NGINX_CONFIGURATION = """
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 8192; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    scgi_temp_path {folder}/scgi;
    uwsgi_temp_path {folder}/uwsgi;
    client_body_buffer_size 256k;
    keepalive_requests 100000000;
    tcp_nodelay on;
    upstream dify {{
        server 127.0.0.1:{mock_port};
        keepalive 1024;
        keepalive_requests 100000000;
    }}
    server {{
        listen 127.0.0.1:{port} backlog=1024;
        location / {{
            proxy_pass http://dify;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_buffering off;
        }}
    }}
}}
"""


@contextlib.contextmanager
def nginx(mock: Served, folder: Path) -> Iterator[Served]:
    """A pass-through that looks at nothing: what moving the bytes costs at least."""
    program = os.environ.get("NGINX") or shutil.which("nginx", path=f"{os.environ.get('PATH')}:/usr/sbin")
    if program is None:
        raise Unavailable("nginx is not installed; Debian has it in the package nginx-light")
    port = free_port()
    configuration = folder / "nginx.conf"
    configuration.write_text(
        _NGINX_CONFIGURATION.format(folder=folder, port=port, mock_port=mock.door.port), encoding="utf-8"
    )
    command = (program, "-e", "stderr", "-p", folder, "-c", configuration)
    log = folder / "nginx.log"
    with started(command, core=target_core(), log=log) as process:
        wait_until_listening(process, port, log)
        yield Served(usual_door(port, "dify"), process.pid, target_core())


def stand_in(*command: str, needs: str) -> Target:
    """What most bridges are like, with one process; `command` gets `{port}` filled in."""

    @contextlib.contextmanager
    def serve(mock: Served, folder: Path) -> Iterator[Served]:
        if not importlib.util.find_spec(needs):
            raise Unavailable(f"{needs} is not installed")
        port = free_port()
        environment = {
            "STAND_IN_DIFY_URL": f"http://127.0.0.1:{mock.door.port}/v1",
            "STAND_IN_APP_KEY": APP_KEY,
            "STAND_IN_KEY": API_KEY,
        }
        arguments = (part.format(port=port) for part in command)
        log = folder / "stand-in.log"
        with started(
            (sys.executable, "-m", *arguments), core=target_core(), log=log, environment=environment
        ) as process:
            wait_until_listening(process, port, log)
            yield Served(usual_door(port, "openai"), process.pid, target_core())

    return serve


@contextlib.contextmanager
def direct(mock: Served, folder: Path) -> Iterator[Served]:  # noqa: ARG001 - All targets are started alike.
    """Nothing between: what the harness itself costs."""
    yield mock


TARGETS: Mapping[str, Target] = {
    "opendify": opendify(transport="sockets", worker_class="sync"),
    "opendify-httpx": opendify(transport="httpx", worker_class="sync"),
    "gevent": opendify(transport="sockets", worker_class="gevent"),
    "gevent-httpx": opendify(transport="httpx", worker_class="gevent"),
    "stand-in-fastapi": stand_in(
        "uvicorn",
        "benchmarks.stand_ins.fastapi_httpx:app",
        "--port={port}",
        "--log-level=warning",
        needs="fastapi",
    ),
    "stand-in-flask": stand_in(
        "gunicorn",
        "benchmarks.stand_ins.flask_requests:app",
        "--bind=127.0.0.1:{port}",
        f"--threads={_THREADS}",
        "--no-control-socket",
        needs="requests",
    ),
    "nginx": nginx,
    "mock": direct,
}


class Peer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A server that somebody else started; `url` is that of its chat completions, `copies` as in `Door`."""

    url: str
    key: str = API_KEY
    model: str = MODEL
    copies: Annotated[int, msgspec.Meta(ge=1)] = 1

    @contextlib.contextmanager
    def serve(self, mock: Served, folder: Path) -> Iterator[Served]:  # noqa: ARG002 - As above.
        """See `Target`; it must ask the mock already."""
        parts = urlsplit(self.url)
        pid = find_listener(parts.port or 80)
        if pid is None:
            raise Unavailable(f"no process of this machine that may be looked at serves {self.url}")
        door = Door(
            port=parts.port or 80,
            path=parts.path,
            key=self.key,
            model=self.model,
            dialect="openai",
            copies=self.copies,
        )
        yield Served(door, pid, target_core())


def read_peers(file: Path) -> dict[str, Target]:
    """The targets that a TOML file names: a table each.

    Raises:
        ValueError: It is no such file.
    """
    peers = msgspec.convert(tomllib.loads(file.read_text(encoding="utf-8")), dict[str, Peer])
    return {name: peer.serve for name, peer in peers.items()}
