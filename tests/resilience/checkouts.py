"""A copy of the checkout that a test may change while its server runs."""

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx

from tests.fakes.programs import GUNICORN, PROJECT, Program, environment_of
from tests.packaging.commands import TOOLS, WHAT_RUNS
from tests.stores.servers import free_port


class Checkout:
    """The copy, its `.env`, and the server that runs in it."""

    def __init__(self, folder: Path, command: Sequence[str], environment: Mapping[str, str]) -> None:
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
            "PATH": f"{TOOLS}:{os.environ['PATH']}",
            "SERVER_HOST": "127.0.0.1",
            "DATA_DIR": str(folder / "data"),
            "OPENDIFY_ENVIRONMENT_READY": "1",
            **environment,
        }
        health = f"{self.origin}/health/live"
        log = folder / "server.log"
        self.program = Program(command, environment_of(told), health, log, folder=self.folder)

    def write_env(self, **lines: str) -> None:
        """All of `.env`, in one step."""
        draft = self.folder / "draft"
        lines = {"SERVER_PORT": str(self.port), **lines}
        draft.write_text("".join(f"{name}={value}\n" for name, value in lines.items()))
        draft.replace(self.folder / ".env")

    def change(self, name: str, old: str, new: str) -> None:
        """Edit a file of the copy."""
        file = self.folder / name
        text = file.read_text(encoding="utf-8")
        assert old in text
        file.write_text(text.replace(old, new), encoding="utf-8")

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
def checked_out(folder: Path, command: Sequence[str] = GUNICORN, **environment: str) -> Iterator[Checkout]:
    """Nothing runs yet; `command` starts it, and what then runs ends with the block."""
    checkout = Checkout(folder, command, environment)
    try:
        yield checkout
    finally:
        checkout.program.kill()
