"""Starting the project's scripts and programs, and reading what they say."""

import contextlib
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Final

PROJECT: Final = Path(__file__).resolve().parents[2]
TOOLS: Final = Path(sys.executable).parent
WHAT_RUNS: Final = (
    "opendify",
    "scripts",
    "main.py",
    "gunicorn_config.py",
    "start_production.sh",
    "start_development.sh",
)

# Nothing listens on the discard port, so Dify cannot be reached.
CONFIGURED: Final = {
    "DIFY_API_BASE": "http://127.0.0.1:9/v1",
    "MODEL_CONFIG": '{"translator": "app-made-up"}',
}


class StartedScript:
    """A script that was started, and the lines that it and its children write."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read, args=(process.stdout,), daemon=True)
        self._reader.start()

    def _read(self, output: IO[str]) -> None:
        with output:
            for line in output:
                self._lines.put(line)
        self._lines.put(None)

    def find_line(self, text: str, *, within_seconds: float = 30) -> str | None:
        """The next line with `text` in it; nothing when the script stays silent for so long."""
        try:
            while (line := self._lines.get(timeout=within_seconds)) is not None:
                if text in line:
                    return line
        except queue.Empty:
            return None
        return None

    def get_line(self, text: str) -> str:
        line = self.find_line(text)
        assert line is not None, f"no line with {text!r}; exit code {self.process.poll()}"
        return line

    def lines_until(self, text: str) -> Iterator[str]:
        """The lines up to the one with `text` in it, which must come."""
        while line := self.get_line(""):
            yield line
            if text in line:
                return

    def stop(self) -> None:
        # Its children are in its group and may have outlived it.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(timeout=10)
        self._reader.join(timeout=10)


StartScript = Callable[..., StartedScript]
RunCommand = Callable[..., subprocess.CompletedProcess[str]]
