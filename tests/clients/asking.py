"""Running a client in an environment of its own, and reading what it saw."""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from tests.sdk.stand import API_KEY, Stand

FOLDER: Final = Path(__file__).parent
_UV: Final = Path(sys.executable).parent / "uv"
_PATIENCE_SECONDS: Final = 600  # A first run downloads the client.


def ask(script: str, stand: Stand) -> Mapping[str, Any]:
    """What `script` prints as its last line: an object. Its first comment names what it needs."""
    return _run([_UV, "run", "--quiet", "--no-project", "--script", script], stand)


def ask_node(script: str, stand: Stand) -> Mapping[str, Any]:
    """The same with Node, from the folder `node`."""
    return _run(["node", f"node/{script}"], stand)


def _run(command: list[str | Path], stand: Stand) -> Mapping[str, Any]:
    run = subprocess.run(
        [*command, stand.base_url, API_KEY],
        cwd=FOLDER,
        capture_output=True,
        text=True,
        timeout=_PATIENCE_SECONDS,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    seen: Mapping[str, Any] = json.loads(run.stdout.splitlines()[-1])
    return seen
