"""How many instructions OpenDify's own work on one event takes: a figure that no busy machine disturbs.

`python -m benchmarks.instructions` counts with valgrind, compares with `instructions.json` beside it, and
fails where an event takes a tenth more. `--keep` makes what was counted the new measure.
"""

import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import msgspec

from benchmarks.processes import PROJECT
from benchmarks.transform import dify_reads, transform

BASELINE = Path(__file__).with_suffix(".json")
EVENTS_A_READ = (1, 16)
_FEW, _MANY = 160, 1_120
_MOST_GROWTH = 0.10
_COLLECTED = re.compile(r"==(\d+)== Collected : (\d+)")


class CannotCount(Exception):
    """Valgrind is missing, or its run failed."""


class Counts(msgspec.Struct, frozen=True):
    """`an_event`: instructions, by events a read; of that Python, since others take more or less."""

    python: str
    an_event: dict[int, int]


def decode_counts(kept: bytes) -> Counts:
    """What `--keep` wrote."""
    return msgspec.json.decode(kept, type=Counts)


def count() -> Counts:
    """What one event takes.

    Raises:
        CannotCount: See there.
    """
    printed, collected = run_counted("from benchmarks.instructions import work; work()")
    least, *totals = (collected[int(pid)] for pid in printed.split())
    an_event = {
        events_a_read: round((total - least) / (_MANY - _FEW))
        for events_a_read, total in zip(EVENTS_A_READ, totals, strict=True)
    }
    return Counts(_python(), an_event)


def run_counted(program: str, *arguments: str) -> tuple[str, dict[int, int]]:
    """Run Python's `program`: what it printed, and the instructions of each of its processes, by id.

    Raises:
        CannotCount: See there.
    """
    valgrind = shutil.which("valgrind")
    if valgrind is None:
        raise CannotCount("valgrind is not installed; Debian has it in the package valgrind")
    counted = (valgrind, "--tool=callgrind", "--callgrind-out-file=/dev/null")
    run = subprocess.run(  # noqa: S603 - The project's own programs.
        [*counted, sys.executable, "-c", program, *arguments],
        cwd=PROJECT,
        # Another order of a set is other work.
        env={**os.environ, "PYTHONHASHSEED": "0"},
        capture_output=True,
        text=True,
        check=False,
    )
    if run.returncode != 0:
        raise CannotCount(run.stderr[-2_000:])
    return run.stdout, {int(pid): int(counted) for pid, counted in _COLLECTED.findall(run.stderr)}


def work() -> None:
    """What is counted: few events both ways, and many of each, every time in a fork of its own.

    A fork takes over what its parent counted, so that all of it, Dify's bytes among it, drops out of
    their differences. Prints the forks' process ids.
    """
    few, many = ({each: list(dify_reads(events, each)) for each in EVENTS_A_READ} for events in (_FEW, _MANY))
    for more in (None, *EVENTS_A_READ):
        pid = os.fork()
        if not pid:
            for each in EVENTS_A_READ:
                for _ in transform((many if each == more else few)[each]):
                    pass
            os._exit(0)
        os.waitpid(pid, 0)
        sys.stdout.write(f"{pid}\n")
    sys.stdout.flush()


def compare(counted: Counts, baseline: Counts) -> Iterator[str]:
    """A fault for each way of reading that takes too much more; nothing can be said of another Python."""
    if counted.python != baseline.python:
        return
    for events_a_read, instructions in counted.an_event.items():
        before = baseline.an_event[events_a_read]
        if instructions > before * (1 + _MOST_GROWTH):
            yield (
                f"an event takes {instructions:,} instructions with {events_a_read} a read, "
                f"{instructions / before - 1:.0%} more than {before:,}"
            )


def _python() -> str:
    return f"{platform.python_implementation()} {platform.python_version()}, {platform.python_compiler()}"


@click.command()
@click.option("--keep", is_flag=True, help="Make what is counted the new measure.")
def main(keep: bool) -> None:
    """Count the instructions of one event, and compare."""
    baseline = decode_counts(BASELINE.read_bytes())
    try:
        counted = count()
    except CannotCount as error:
        sys.exit(str(error))
    for events_a_read, instructions in counted.an_event.items():
        click.echo(
            f"{instructions:7,} instructions an event, {events_a_read:2} a read "
            f"({baseline.an_event[events_a_read]:,} before)"
        )
    if counted.python != baseline.python:
        click.echo(f"not compared: this is {counted.python}, and that was {baseline.python}")
    if keep:
        BASELINE.write_bytes(msgspec.json.format(msgspec.json.encode(counted)) + b"\n")
    elif faults := list(compare(counted, baseline)):
        sys.exit("\n".join([*faults, "where that is right: python -m benchmarks.instructions --keep"]))


if __name__ == "__main__":
    main()
