"""That what is counted does its work; valgrind would take a minute."""

import json
import subprocess
import sys
from pathlib import Path

from benchmarks.one_thread import environment
from benchmarks.targets import mock_dify
from benchmarks.watched import OFF, ON, watched_settings
from benchmarks.watched_work import PROGRAM
from opendify.settings import PROJECT_FOLDER
from tests.fakes.collector import collecting


def test_each_server_answers_few_requests_and_many_and_all_of_their_spans_arrive(tmp_path: Path) -> None:
    with mock_dify(tmp_path) as mock, collecting() as collector:
        usual = environment(tmp_path, mock.door.port)
        servers = {OFF: usual, ON: {**usual, **watched_settings(collector.url)}}
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, json.dumps(servers)],
            cwd=PROJECT_FOLDER,
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
        )

    cases = [tuple(line.split()[1:]) for line in done.stdout.splitlines()]
    assert {case: cases.count(case) for case in cases} == {
        ("20", OFF): 3,
        ("120", OFF): 3,
        ("20", ON): 3,
        ("120", ON): 3,
    }
    assert len(collector.spans) == 3 * (20 + 120) * 2
