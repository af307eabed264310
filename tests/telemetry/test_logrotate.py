"""The shipped configuration of logrotate with the real program, while several processes write."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from opendify.settings import PROJECT_FOLDER

SHIPPED = PROJECT_FOLDER / "deploy/logging/logrotate.conf"
# Debian keeps it where only root looks.
LOGROTATE = shutil.which("logrotate") or shutil.which("logrotate", path="/usr/sbin")
WRITERS, LINES, ROTATIONS = 4, 1_500, 3
WRITE = """
import logging, sys, time
from pathlib import Path
from opendify.settings.logs import LogSettings
from opendify.telemetry.logs import configure_logging
configure_logging("info", LogSettings(file=Path(sys.argv[1]), file_max_megabytes=0, requests=True))
for number in range(int(sys.argv[3])):
    logging.getLogger("opendify").info("line", extra={"of": sys.argv[2], "number": number})
    time.sleep(0.001)
"""


@pytest.mark.skipif(LOGROTATE is None, reason="logrotate is not installed")
def test_no_line_is_lost_and_each_file_is_its_owners(tmp_path: Path) -> None:
    assert LOGROTATE
    log = tmp_path / "opendify.log"
    configuration = tmp_path / "logrotate.conf"
    configuration.write_text(SHIPPED.read_text().replace("/var/log/opendify/opendify.log", str(log)))
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITE, str(log), str(writer), str(LINES)],
            cwd=PROJECT_FOLDER,
            stderr=subprocess.DEVNULL,
        )
        for writer in range(WRITERS)
    ]
    rotated = 0
    while any(writer.poll() is None for writer in writers):
        if rotated < ROTATIONS and log.exists() and log.stat().st_size > 20_000:
            # What is put aside is compressed one rotation later, when nobody writes it any more.
            command = [LOGROTATE, "--force", "--state", str(tmp_path / "state"), str(configuration)]
            subprocess.run(command, check=True)
            rotated += 1

    files = sorted(tmp_path.glob("opendify.log*"))
    text = "".join(subprocess.run(["zcat", "-f", *files], check=True, capture_output=True, text=True).stdout)
    lines = {tuple(line.split()[-2:]) for line in text.splitlines()}
    assert rotated == ROTATIONS
    assert len(files) == ROTATIONS + 1
    assert len(lines) == text.count("\n") == WRITERS * LINES
    assert {oct(file.stat().st_mode & 0o777) for file in files} == {"0o640"}
