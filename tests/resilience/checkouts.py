"""A copy of the checkout that a test may change while its server runs."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from tests.fakes.programs import GUNICORN, PROJECT, Program, environment_of
from tests.packaging.commands import WHAT_RUNS
from tests.stores.servers import free_port


class Checkout:
    """The copy, its `.env`, and the server that runs in it."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.folder = folder / "checkout"
        self.folder.mkdir()
        for name in WHAT_RUNS:
            source = PROJECT / name
            if source.is_dir():
                ignored = shutil.ignore_patterns("__pycache__")
                shutil.copytree(source, self.folder / name, ignore=ignored)
            else:
                shutil.copy2(source, self.folder / name)
        self.port = free_port()
        self.origin = f"http://127.0.0.1:{self.port}"
        told = {
            "SERVER_HOST": "127.0.0.1",
            "DATA_DIR": str(folder / "data"),
            "OPENDIFY_ENVIRONMENT_READY": "1",
            **environment,
        }
        self._environment = environment_of(told)
        self._log = folder / "server.log"
        self.program = self.make_program(GUNICORN)

    def make_program(self, command: tuple[str, ...]) -> Program:
        """The server as another command starts it."""
        health = f"{self.origin}/health/live"
        return Program(command, self._environment, health, self._log, folder=self.folder)

    def write_env(self, **lines: str) -> None:
        """All of `.env`, in one step."""
        draft = self.folder / "draft"
        lines = {"SERVER_PORT": str(self.port), **lines}
        draft.write_text("".join(f"{name}={value}\n" for name, value in lines.items()))
        draft.replace(self.folder / ".env")

    def models(self) -> list[str]:
        """The names that `/v1/models` lists, asked on a connection of its own."""
        answer = httpx.get(f"{self.origin}/v1/models", timeout=10)
        assert answer.status_code == 200, answer.text
        return [model["id"] for model in answer.json()["data"]]

    def accepts_key(self, key: str) -> bool:
        """Whether it opens."""
        headers = {"Authorization": f"Bearer {key}"}
        return httpx.get(f"{self.origin}/v1/models", headers=headers, timeout=10).status_code == 200


@contextmanager
def checked_out(folder: Path, **environment: str) -> Iterator[Checkout]:
    """Nothing runs yet; what then runs ends with the block."""
    checkout = Checkout(folder, environment)
    try:
        yield checkout
    finally:
        checkout.program.kill()
