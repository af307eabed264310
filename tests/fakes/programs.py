"""Servers of the project's own as processes of their own."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import httpx
import psutil

from tests.fakes.waiting import wait_until

PROJECT: Final = Path(__file__).resolve().parents[2]
# As `start_production.sh` starts it.
GUNICORN: Final = (sys.executable, "-m", "gunicorn", "--config", "gunicorn_config.py", "main:app")
_START_SECONDS: Final = 40.0
_STOP_SECONDS: Final = 10.0


class Program:
    """A server process that can be killed and started again on its port."""

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        url: str,
        log: Path,
        *,
        folder: Path = PROJECT,
    ) -> None:
        """It listens once `url` answers; what it writes is added to `log`. It runs in `folder`."""
        self._command, self._environment, self._url, self._log = command, environment, url, log
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process
        return self._process.pid

    @property
    def log(self) -> str:
        """What it wrote."""
        return self._log.read_text(errors="replace")

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command, cwd=self._folder, env=self._environment, stdin=subprocess.DEVNULL,
                stdout=log, stderr=log,
            )  # fmt: skip
        assert wait_until(self._answers, _START_SECONDS), self.log[-3_000:]

    def workers(self) -> list[psutil.Process]:
        """Its children, oldest first."""
        children = psutil.Process(self.pid).children()
        return sorted(children, key=lambda child: child.create_time())

    def signal(self, number: signal.Signals) -> None:
        assert self._process
        self._process.send_signal(number)

    def exit_code(self, seconds: float = _STOP_SECONDS) -> int | None:
        """How it ended; None where it did not, in that time."""
        assert self._process
        with suppress(subprocess.TimeoutExpired):
            return self._process.wait(seconds)
        return None

    def kill(self) -> None:
        """As a power cut would, its children too."""
        if self._process is None:
            return
        family = [psutil.Process(self._process.pid)] if self._process.poll() is None else []
        family += [child for parent in family for child in parent.children(recursive=True)]
        for process in family:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        self._process.wait(_STOP_SECONDS)
        psutil.wait_procs(family, _STOP_SECONDS)
        self._process = None

    def stop(self) -> None:
        if self._process is None:
            return
        self.signal(signal.SIGTERM)
        self.exit_code()
        self.kill()

    def _answers(self) -> bool:
        assert self._process
        assert self._process.poll() is None, self.log[-3_000:]
        with suppress(httpx.HTTPError):
            return httpx.get(self._url).status_code < 500
        return False


def environment_of(ours: Mapping[str, str]) -> dict[str, str]:
    """Nothing that configures OpenDify but `ours`."""
    return {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), **ours}
