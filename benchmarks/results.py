"""What one run of one scenario found out: a line of JSON."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import msgspec

from benchmarks.dialects import Door
from benchmarks.scenarios import Scenario


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """What the load generator is told.

    `target_pid` is the root of the process tree that is measured; `shares_core` tells
    whether mock and load generator run on one core.
    """

    target: str
    door: Door
    scenario: Scenario
    round: int
    seconds: float
    most_requests: int
    target_pid: int
    target_core: int
    mock_pid: int
    mock_port: int
    shares_core: bool


class Conditions(msgspec.Struct, frozen=True, kw_only=True, tag="conditions"):
    """Under what a session ran; its first line."""

    at: str
    commit: str
    cores: int
    processor: str
    python: str
    versions: dict[str, str]
    rounds: int
    seconds: float
    load_average: float
    skipped: dict[str, str]


class Measurement(msgspec.Struct, frozen=True, kw_only=True, tag="run"):
    """Times in `_ms` are wall-clock, the rest is CPU time.

    `pieces_due` is how many the streams that the end of the run cut should have had by then.
    `others_cpu_seconds` is what strangers used of the target's core. `errors` are
    requests without a right answer, `short` those among them that lack pieces; `left` are those that the
    client broke off, or the end of the run cut. `lag` is from the mock's write to the client's read.
    `memory_mb` is taken while the last streams, `live` at the mock, are open. `runs_stopped` were
    ended by a call, `runs_aborted` by closing the connection; `runs_on` went on though nobody got them.
    """

    target: str
    scenario: str
    clients: int
    round: int
    seconds: float
    requests: int
    pieces: int
    pieces_due: float
    reads: int
    errors: int
    short: int
    left: int
    faults: list[str]
    target_cpu_seconds: float
    mock_cpu_seconds: float
    load_cpu_seconds: float
    others_cpu_seconds: float
    us_per_piece: float
    us_per_request: float
    requests_per_second: float
    first_piece_ms_p50: float
    first_piece_ms_p99: float
    whole_ms_p50: float
    whole_ms_p99: float
    lag_ms_p50: float
    lag_ms_p99: float
    memory_mb_before: float
    memory_mb: float
    live: int
    runs_stopped: int
    runs_aborted: int
    runs_on: int
    harness_bound: bool


class WorkerMemory(msgspec.Struct, frozen=True, kw_only=True, tag="workers"):
    """What an idle server takes with its first worker, and what each further one adds (PSS)."""

    first_mb: float
    further_mb: float


Line = Conditions | WorkerMemory | Measurement

_SESSION_START = b'{"type":"conditions"'
_decode_line = msgspec.json.Decoder(Line).decode


def append_line(results: Path, line: Line) -> None:
    """Add to the file at once, so that a session cut short leaves what it measured."""
    with results.open("ab") as file:
        file.write(msgspec.json.encode(line) + b"\n")


def read_lines(results: Path) -> list[Line]:
    """The file's last session; what older sessions kept may have had other fields."""
    lines = results.read_bytes().splitlines()
    starts = [index for index, line in enumerate(lines) if line.startswith(_SESSION_START)]
    return [_decode_line(line) for line in lines[starts[-1] if starts else 0 :]]


def measurements(lines: Iterable[Line]) -> Iterator[Measurement]:
    """Those among `lines`."""
    return (line for line in lines if isinstance(line, Measurement))


def percentile(values: Sequence[float], percent: float) -> float:
    """The nearest rank; 0 of nothing."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))] if ordered else 0.0
