"""A real Prometheus and a real Alertmanager before a running service, as `deploy/monitoring` sets them up."""

import json
import shutil
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import yaml

from opendify.settings import PROJECT_FOLDER
from tests.fakes.waiting import wait_until
from tests.stores.servers import free_port

MONITORING = PROJECT_FOLDER / "deploy/monitoring"
ALERTMANAGER = "prometheus-alertmanager"  # Debian's name for it.
IS_INSTALLED = bool(shutil.which("prometheus") and shutil.which(ALERTMANAGER))


@dataclass
class Watch:
    """Prometheus' address, and the alerts that reached people."""

    prometheus: str
    told: list[dict[str, Any]] = field(default_factory=list)

    def query(self, expression: str) -> list[dict[str, Any]]:
        """What Prometheus answers now."""
        answer = httpx.get(f"{self.prometheus}/api/v1/query", params={"query": expression}, timeout=20).json()
        assert answer["status"] == "success", (expression, answer)
        result: list[dict[str, Any]] = answer["data"]["result"]
        return result

    def value(self, expression: str) -> float | None:
        """That of the only series."""
        result = self.query(expression)
        return float(result[0]["value"][1]) if result else None

    def firing(self) -> set[str]:
        """The names of the alerts that were delivered."""
        return {each["labels"]["alertname"] for each in self.told if each["status"] == "firing"}


def _configure(folder: Path, target: str, key_file: Path, alertmanager: int, receiver: int) -> None:
    """The shipped files, with other addresses and more haste."""
    told = yaml.safe_load((MONITORING / "prometheus.yml").read_text())
    told["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    told["rule_files"] = [str(MONITORING / each) for each in told["rule_files"]]
    told["alerting"]["alertmanagers"][0]["static_configs"][0]["targets"] = [f"127.0.0.1:{alertmanager}"]
    job = told["scrape_configs"][0]
    job["authorization"]["credentials_file"] = str(key_file)
    job["static_configs"][0]["targets"] = [target]
    told["scrape_configs"] = [job]
    (folder / "prometheus.yml").write_text(yaml.safe_dump(told))
    told = yaml.safe_load((MONITORING / "alertmanager.yml").read_text())
    told["receivers"][0]["webhook_configs"][0]["url"] = f"http://127.0.0.1:{receiver}/alerts"
    for route in (told["route"], *told["route"]["routes"]):
        route["group_wait"] = "0s"
    (folder / "alertmanager.yml").write_text(yaml.safe_dump(told))


@contextmanager
def watched(folder: Path, target: str, key_file: Path) -> Iterator[Watch]:
    """Prometheus scrapes `target` with the key in `key_file`, while the block runs."""
    ports = free_port(), free_port()
    with ExitStack() as stack:
        watch = Watch(f"http://127.0.0.1:{ports[0]}")
        receiver = stack.enter_context(_receiver(watch))
        _configure(folder, target, key_file, ports[1], receiver)
        stack.enter_context(
            _running(
                folder / "alertmanager.log",
                ALERTMANAGER,
                f"--config.file={folder / 'alertmanager.yml'}",
                f"--storage.path={folder / 'alerts'}",
                f"--web.listen-address=127.0.0.1:{ports[1]}",
                "--cluster.listen-address=",
            )
        )
        stack.enter_context(
            _running(
                folder / "prometheus.log",
                "prometheus",
                f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'tsdb'}",
                f"--web.listen-address=127.0.0.1:{ports[0]}",
            )
        )
        assert wait_until(lambda: _answers(watch.prometheus), 60), (folder / "prometheus.log").read_text()
        yield watch


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/-/ready", timeout=5).status_code == 200
    except httpx.TransportError:
        return False


@contextmanager
def _running(log: Path, *command: str) -> Iterator[None]:
    with log.open("wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file, cwd=log.parent)
    try:
        yield
    finally:
        process.kill()
        process.wait()


@contextmanager
def _receiver(watch: Watch) -> Iterator[int]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body: Mapping[str, Any] = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            watch.told += body["alerts"]
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - The library's name.
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
