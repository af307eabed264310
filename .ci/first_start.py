"""Does what a newcomer does: a fresh copy of the checkout, `./start_development.sh`, the README's first curl.

The only test that makes a Python environment, so it needs the package index and is no part of the suite.
"""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
START_SECONDS = 240
STOP_SECONDS = 30
CURL = re.compile(r"^ *(curl (?:[^\n]*\\\n)*[^\n]*)$", re.MULTILINE)


def copy_to(folder: Path) -> None:
    """What a clone would have, uncommitted changes too; works where git is missing or distrusts the owner."""
    ignored = [line.rstrip("/") for line in (PROJECT / ".gitignore").read_text().splitlines()]
    shutil.copytree(PROJECT, folder, ignore=shutil.ignore_patterns(".git", *ignored))


def first_curl(port: int) -> str:
    found = CURL.search((PROJECT / "README.md").read_text())
    if not found:
        sys.exit("README.md shows no curl command")
    return found[1].replace(":5000", f":{port}")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


@contextmanager
def development_server(checkout: Path, port: int) -> Iterator[None]:
    """Yields once it listens."""
    ours = ("MODEL_CONFIG", "DIFY_", "SERVER_", "GUNICORN_", "OPENDIFY_", "VIRTUAL_ENV")
    environment = {name: text for name, text in os.environ.items() if not name.startswith(ours)}
    with subprocess.Popen(
        [checkout / "start_development.sh"],
        env={**environment, "SERVER_PORT": str(port)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        too_late = threading.Timer(START_SECONDS, os.killpg, (process.pid, signal.SIGKILL))
        too_late.start()
        try:
            wait_until_listening(process.stdout or [])
            yield
        finally:
            too_late.cancel()
            process.terminate()
            process.communicate(timeout=STOP_SECONDS)


def wait_until_listening(lines: Iterable[str]) -> None:
    said = []
    for line in lines:
        said.append(line)
        if "Listening at" in line:
            return
    sys.exit("".join([*said, f"it ended, or did not start within {START_SECONDS} seconds"]))


def main() -> None:
    port = free_port()
    command = first_curl(port)
    print(command)
    with tempfile.TemporaryDirectory() as folder:
        checkout = Path(folder) / "opendify"
        copy_to(checkout)
        with development_server(checkout, port):
            answer = subprocess.run(
                ["bash", "-c", command], capture_output=True, text=True, timeout=60, check=False
            )
    print(answer.stdout)
    if answer.returncode != 0 or "error" in json.loads(answer.stdout):
        sys.exit(f"the README's first curl failed: {answer.stderr}")


if __name__ == "__main__":
    main()
