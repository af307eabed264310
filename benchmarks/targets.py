"""What can stand between the load generator and the mock Dify. A new one is one entry here."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.dialects import API_KEY, APP_KEY, MODEL
from benchmarks.processes import free_port, harness_core, started, target_core, wait_until_listening


class Unavailable(Exception):
    """A target that this machine does not have."""


@dataclass(frozen=True, slots=True)
class Served:
    """A server at work, on one core with all its children."""

    port: int
    dialect: str
    pid: int
    core: int


@contextlib.contextmanager
def mock_dify(folder: Path) -> Iterator[Served]:
    """The mock, on the harness's core."""
    command = (sys.executable, "-m", "benchmarks.mock_dify")
    log = folder / "mock.log"
    with started(command, core=harness_core(), log=log, output=subprocess.PIPE) as process:
        if process.stdout is None:
            raise Unavailable("the mock has no output")
        port = int(process.stdout.readline() or 0)
        wait_until_listening(process, port, log)
        yield Served(port, "dify", process.pid, harness_core())


@contextlib.contextmanager
def opendify(mock: Served, folder: Path) -> Iterator[Served]:
    """The service as it is shipped, with one worker."""
    port = free_port()
    environment = {
        "SERVER_HOST": "127.0.0.1",
        "SERVER_PORT": str(port),
        "ENVIRONMENT": "production",
        "GUNICORN_WORKERS": "1",
        "DATA_DIR": str(folder / "opendify"),
        "DIFY_API_BASE": f"http://127.0.0.1:{mock.port}/v1",
        "MODEL_CONFIG": json.dumps({MODEL: {"api_key": APP_KEY}}),
        "API_KEYS": f"bench:{API_KEY}",
    }
    command = (sys.executable, "-m", "gunicorn", "-c", "gunicorn_config.py", "main:app")
    log = folder / "opendify.log"
    with started(command, core=target_core(), log=log, environment=environment) as process:
        wait_until_listening(process, port, log)
        yield Served(port, "openai", process.pid, target_core())


_NGINX_CONFIGURATION = """
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 4096; }}
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
    own_folder = folder / "nginx"
    own_folder.mkdir(exist_ok=True)
    configuration = own_folder / "nginx.conf"
    configuration.write_text(
        _NGINX_CONFIGURATION.format(folder=own_folder, port=port, mock_port=mock.port), encoding="utf-8"
    )
    command = (program, "-e", "stderr", "-p", own_folder, "-c", configuration)
    log = folder / "nginx.log"
    with started(command, core=target_core(), log=log) as process:
        wait_until_listening(process, port, log)
        yield Served(port, "dify", process.pid, target_core())


@contextlib.contextmanager
def direct(mock: Served, folder: Path) -> Iterator[Served]:  # noqa: ARG001 - All targets are started alike.
    """Nothing between: what the harness itself costs."""
    yield mock


Target = Callable[[Served, Path], AbstractContextManager[Served]]
TARGETS: dict[str, Target] = {"opendify": opendify, "nginx": nginx, "mock": direct}
