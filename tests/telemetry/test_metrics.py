"""Instruments: silent until somebody asks, bounded, one sum over processes."""

import subprocess
import sys
from pathlib import Path

import pytest

from opendify.telemetry import metrics


def in_a_process_of_its_own(program: str, folder: Path) -> str:
    """What `program` prints; the library's values are global, so each test has its own process."""
    done = subprocess.run(
        [sys.executable, "-c", "from opendify.telemetry.metrics import *\n" + program],
        env={"PROMETHEUS_MULTIPROC_DIR": str(folder), "FOLDER": str(folder)},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        cwd=Path(metrics.__file__).parents[2],
    )
    return done.stdout


HELLOS = "hellos = counter('hellos_total', 'Said.', 'to')\n"


def test_an_instrument_that_nobody_asked_for_costs_nothing_and_imports_nothing(tmp_path: Path) -> None:
    said = in_a_process_of_its_own(
        HELLOS + "import sys\nhellos.add('you')\nprint('prometheus_client' in sys.modules)", tmp_path
    )

    assert said == "False\n"
    assert list(tmp_path.iterdir()) == []


def test_a_process_that_is_alone_counts_in_its_memory(tmp_path: Path) -> None:
    program = "METRICS.open()\nhellos.add('you')\nhellos.add('you', by=2)\n"
    program += "print(METRICS.exposition('')[0].decode())"
    said = in_a_process_of_its_own(HELLOS + program, tmp_path)

    assert 'hellos_total{to="you"} 3.0' in said
    assert list(tmp_path.iterdir()) == []


def test_what_the_collector_ends_may_count_while_a_series_is_made(tmp_path: Path) -> None:
    program = """
import gc
METRICS.open()
class Abandoned:
    def __init__(self, n): self.me, self.n = self, n
    def __del__(self): hellos.add(f"late {self.n}")
for n in range(400):
    gc.collect()
    gc.set_threshold(1 + n % 40)
    Abandoned(n)
    hellos.add(str(n))
gc.collect()
print(METRICS.exposition('')[0].decode())
"""
    said = in_a_process_of_its_own(HELLOS + program, tmp_path)

    assert 'hellos_total{to="399"} 1.0' in said
    assert 'hellos_total{to="late 399"} 1.0' in said


def _join(process: str, then: str, folder: Path) -> str:
    declare = HELLOS + "here = gauge('here', 'Now.')\nlong = histogram('long_seconds', 'How long.')\n"
    join = f"from pathlib import Path\nMETRICS.join(Path({str(folder)!r}), {process!r})\n"
    return in_a_process_of_its_own(
        declare + join + then + "\nprint(METRICS.exposition('')[0].decode())", folder
    )


def test_processes_that_join_are_summed_and_a_successor_goes_on_counting(tmp_path: Path) -> None:
    _join("1", "hellos.add('you'); here.add(); long.observe(0.2)", tmp_path)
    _join("2", "hellos.add('you'); here.add(); long.observe(7)", tmp_path)
    said = _join("1", "hellos.add('you'); hellos.add('me')", tmp_path)

    assert 'hellos_total{to="you"} 3.0' in said
    assert 'hellos_total{to="me"} 1.0' in said
    assert "here 2.0" in said
    assert "long_seconds_count 2.0" in said
    assert 'long_seconds_bucket{le="0.25"} 1.0' in said


def test_a_file_of_numbers_grows_and_what_was_counted_before_goes_on(tmp_path: Path) -> None:
    many = "for _ in range(2):\n    for n in range(900):\n        hellos.add(f'{n:03d} of {900 * 10}')\n"
    said = _join("1", many, tmp_path)
    again = _join("1", many, tmp_path)

    assert (tmp_path / "counter_1.db").stat().st_size > 1 << 16
    assert said.count('of 9000"} 2.0') == 900
    assert again.count('of 9000"} 4.0') == 900


def test_threads_that_count_a_new_series_at_once_count_the_same_one(tmp_path: Path) -> None:
    program = """
import sys, threading
sys.setswitchinterval(1e-6)
ready = threading.Barrier(16)
def count():
    for n in range(50):
        ready.wait()
        hellos.add(str(n))
        long.observe(n)
threads = [threading.Thread(target=count) for _ in range(16)]
for each in threads: each.start()
for each in threads: each.join()
"""
    said = _join("1", program, tmp_path)

    assert [f'hellos_total{{to="{n}"}} 16.0' in said for n in range(50)] == [True] * 50
    assert 'long_seconds_bucket{le="10.0"} 176.0' in said
    assert "long_seconds_count 800.0" in said
    assert f"long_seconds_sum {16 * sum(range(50))}.0" in said


def test_clients_cannot_make_series_without_end(tmp_path: Path) -> None:
    program = (
        "METRICS.open()\n[hellos.add(f'stranger {n}') for n in range(5000)]\n"
        "print(METRICS.exposition('')[0].decode())"
    )
    said = in_a_process_of_its_own(HELLOS + program, tmp_path)

    series = [line for line in said.splitlines() if line.startswith("hellos_total")]
    assert len(series) == 1_001
    assert 'hellos_total{to="other"} 4000.0' in said


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("", "text/plain; version=0.0.4"),
        ("application/openmetrics-text; version=1.0.0", "application/openmetrics-text"),
    ],
)
def test_the_scraper_chooses_the_form(accept: str, content_type: str) -> None:
    assert metrics.Metrics().exposition(accept)[1].startswith(content_type)
