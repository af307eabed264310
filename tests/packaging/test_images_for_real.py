"""Images built and used by a container engine, where somebody asks for it: `TRY_IMAGES=1`."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest


def reason_to_skip() -> str | None:
    if os.environ.get("TRY_IMAGES") != "1":
        return "TRY_IMAGES=1 builds and runs the images, which takes a minute and a registry"
    if shutil.which("docker") is None:
        return "Docker is not installed"
    asked = subprocess.run(["docker", "info"], capture_output=True, timeout=30, check=False)
    return None if asked.returncode == 0 else "no Docker daemon answers"


def test_the_images_do_what_the_guide_says(project: Path) -> None:
    if reason := reason_to_skip():
        pytest.skip(reason)

    done = subprocess.run(
        [project / "deploy/scripts/try-images.sh"], capture_output=True, text=True, timeout=900, check=False
    )

    assert done.stdout.endswith("all good\n"), done.stdout + done.stderr
