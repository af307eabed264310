"""What `systemctl restart` is for the scripts: ends an instance, by force if need be, and starts it again."""

import os
import signal
import socketserver
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Thread

import psutil

from tests.fakes.programs import environment_of
from tests.packaging.commands import TOOLS
from tests.stores.servers import free_port

# As a unit's TimeoutStopSec.
_STOP_SECONDS = 3.0


class Supervisor:
    """Runs the production script of the folder that `home` points at."""

    def __init__(self, home: Path, folder: Path, **variables: str) -> None:
        self.home, self.port, self.restarts = home, free_port(), 0
        self.url = f"http://127.0.0.1:{self.port}"
        self._log = folder / "server.log"
        self.environment = environment_of(
            {
                "PATH": f"{TOOLS}:{os.environ['PATH']}",
                "OPENDIFY_ENVIRONMENT_READY": "1",
                "SERVER_HOST": "127.0.0.1",
                "SERVER_PORT": str(self.port),
                "GUNICORN_WORKERS": "1",
                "DATA_DIR": str(folder / "data"),
                "DIFY_API_BASE": "http://127.0.0.1:9/v1",
                "MODEL_CONFIG": '{"bot": "app-made-up"}',
                **variables,
            }
        )
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> str:
        """What all instances wrote."""
        return self._log.read_text(errors="replace")

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [self.home / "start_production.sh"], env=self.environment, stdin=subprocess.DEVNULL,
                stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip

    def stop(self) -> None:
        if self._process is None:
            return
        self._process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_STOP_SECONDS)
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def restart(self) -> None:
        self.restarts += 1
        self.stop()
        self.start()

    def family(self) -> list[psutil.Process]:
        """The master and its workers."""
        assert self._process
        master = psutil.Process(self._process.pid)
        return [master, *master.children(recursive=True)]


@contextmanager
def restarting(supervisor: Supervisor, folder: Path) -> Iterator[Mapping[str, str]]:
    """The environment in which a script can ask `supervisor` for a restart; nothing runs afterwards."""

    class Order(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.rfile.readline()
            supervisor.restart()
            self.wfile.write(b"done\n")

    with socketserver.TCPServer(("127.0.0.1", 0), Order) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        order = folder / "restart.sh"
        order.write_text(
            "#!/usr/bin/env bash\n"
            f"exec 3<>/dev/tcp/127.0.0.1/{server.server_address[1]}\n"
            'printf "%s\\n" "$1" >&3\n'
            'read -r answer <&3 && [ "$answer" = done ]\n'
        )
        order.chmod(0o755)
        try:
            yield {**supervisor.environment, "OPENDIFY_RESTART": str(order)}
        finally:
            server.shutdown()
            thread.join()
            supervisor.stop()
