"""How many calls of functions one request takes, Python's and C's: what no busy machine changes.

`python -m benchmarks.calls` counts, and compares with `calls.json` beside it; `--keep` makes what was counted
the new measure. `--profile streamed` tells where they are.
"""

import cProfile
import os
import pstats
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import click
import msgspec

from benchmarks.one_thread import answer_requests, environment
from benchmarks.targets import mock_dify

BASELINE = Path(__file__).with_suffix(".json")
KINDS = ("streamed", "whole")
_FEW, _MANY = 5, 25
_PROFILED = 200
_MOST_GROWTH = 0.10


def count(kind: str, environ: Mapping[str, str]) -> int:
    """Calls of one request of that kind, once everything is warm."""
    answer_requests(environ, _FEW, whole=kind == "whole")
    few, many = (_calls(kind, environ, requests) for requests in (_FEW, _MANY))
    return round((many - few) / (_MANY - _FEW))


def compare(counted: Mapping[str, int], baseline: Mapping[str, int]) -> Iterator[str]:
    """A fault for each kind of request that takes too many more."""
    for kind, calls in counted.items():
        before = baseline[kind]
        if calls > before * (1 + _MOST_GROWTH):
            yield f"a {kind} request takes {calls:,} calls, {calls / before - 1:.0%} more than {before:,}"


def read_baseline() -> dict[str, int]:
    """What `--keep` wrote."""
    return msgspec.json.decode(BASELINE.read_bytes(), type=dict[str, int])


@contextmanager
def served_by_mock() -> Iterator[dict[str, str]]:
    """Settings of an instance, with a folder of its own, whose Dify is a mock that runs."""
    with tempfile.TemporaryDirectory(prefix="calls-") as name, mock_dify(Path(name)) as mock:
        yield environment(Path(name), mock.door.port)


@contextmanager
def silent_log() -> Iterator[None]:
    """Each request leaves a line, which nobody wants to read here."""
    kept = [os.dup(1), os.dup(2)]
    with Path(os.devnull).open("wb") as nowhere:
        os.dup2(nowhere.fileno(), 1)
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        sys.stdout.flush()
        os.dup2(kept[0], 1)
        os.dup2(kept[1], 2)


def _calls(kind: str, environ: Mapping[str, str], requests: int) -> int:
    calls = 0

    def note(_frame: FrameType, event: str, _argument: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    sys.setprofile(note)
    try:
        answer_requests(environ, requests, whole=kind == "whole")
    finally:
        sys.setprofile(None)
    return calls


def _profile(kind: str, environ: Mapping[str, str]) -> cProfile.Profile:
    answer_requests(environ, _FEW, whole=kind == "whole")
    profile = cProfile.Profile()
    profile.runcall(answer_requests, environ, _PROFILED, whole=kind == "whole")
    return profile


@click.command()
@click.option("--keep", is_flag=True, help="Make what is counted the new measure.")
@click.option("--profile", type=click.Choice(KINDS), help="Tell where the calls are.")
def main(keep: bool, profile: str | None) -> None:
    """Count the calls of one request, and compare."""
    if profile:
        with served_by_mock() as environ, silent_log():
            found = _profile(profile, environ)
        pstats.Stats(found).strip_dirs().sort_stats("tottime").print_stats(100)
        return
    with served_by_mock() as environ, silent_log():
        counted = {kind: count(kind, environ) for kind in KINDS}
    baseline = read_baseline()
    for kind, calls in counted.items():
        click.echo(f"{calls:6,} calls a {kind} request ({baseline[kind]:,} before)")
    if keep:
        BASELINE.write_bytes(msgspec.json.format(msgspec.json.encode(counted)) + b"\n")
    elif faults := list(compare(counted, baseline)):
        sys.exit("\n".join([*faults, "where that is right: python -m benchmarks.calls --keep"]))


if __name__ == "__main__":
    main()
