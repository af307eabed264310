"""The production script before a simulated Dify, for loads that need no script of their own."""

import json
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx

from opendify.simulator import DEMO_MODELS
from tests.fakes.programs import Program, environment_of
from tests.resilience.server import RunningServer
from tests.stores.servers import free_port

_SIMULATE: Final = (sys.executable, "-c", "from opendify.cli import main; main()", "simulate")


@dataclass(frozen=True)
class SimulatedDify:
    """`origin` is without `/v1`."""

    origin: str

    def counts(self) -> dict[str, int]:
        """`running`, `requests`, `stops`…; see the simulator's control routes."""
        counts: dict[str, int] = httpx.get(f"{self.origin}/_simulator/counts", timeout=30).json()
        return counts

    def forget(self) -> None:
        """Drop what it remembers, so that a long load does not fill it."""
        httpx.post(f"{self.origin}/_simulator/reset", timeout=30)


@dataclass(frozen=True)
class ProductionStand:
    """A server with default settings, and what stands behind it."""

    server: RunningServer
    dify: SimulatedDify


@contextmanager
def production_stand(**environment: str) -> Iterator[ProductionStand]:
    """`./start_production.sh`, open to everybody, with one model an app mode; all ends with the block."""
    port, dify_port = free_port(), free_port()
    with tempfile.TemporaryDirectory(prefix="opendify-") as folder:
        dify = SimulatedDify(f"http://127.0.0.1:{dify_port}")
        options = ("--port", str(dify_port), "--token-delay", "0", "--naming-delay", "0")
        simulator = Program(
            (*_SIMULATE, *options, "--message-time-resolution", "0"),
            environment_of({}),
            f"{dify.origin}/_simulator/counts",
            Path(folder) / "dify.log",
        )
        data_dir = Path(folder) / "data"
        told = {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "OPENDIFY_ENVIRONMENT_READY": "1",
            "SERVER_HOST": "127.0.0.1",
            "SERVER_PORT": str(port),
            "AUTH_MODE": "open",
            "DATA_DIR": str(data_dir),
            "DIFY_API_BASE": f"{dify.origin}/v1",
            "MODEL_CONFIG": json.dumps(dict(DEMO_MODELS)),
            "DIFY_MESSAGE_TIME_RESOLUTION": "0",
            **environment,
        }
        health = f"http://127.0.0.1:{port}/health/live"
        program = Program(("./start_production.sh",), environment_of(told), health, Path(folder) / "log")
        try:
            simulator.start()
            program.start()
            yield ProductionStand(RunningServer(port, program, data_dir), dify)
        finally:
            program.kill()
            simulator.kill()
