"""A session: all targets started once, then measured in turn, round by round."""

import importlib.metadata
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from benchmarks.processes import PROJECT, CannotStart, harness_core, started
from benchmarks.results import Conditions, Job, Line, Measurement
from benchmarks.scenarios import SCENARIOS
from benchmarks.targets import TARGETS, Served, Unavailable, mock_dify

_GRACE_SECONDS = 90.0
_PACKAGES = ("gunicorn", "flask", "httpx", "msgspec", "pydantic")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to measure, in the order in which each round does it."""

    targets: Sequence[str]
    scenarios: Sequence[str]
    rounds: int
    seconds: float
    most_requests: int


def run_session(plan: Plan, note: Callable[[Line], None]) -> None:
    """Measure; `note` gets each line as soon as it is known.

    Targets are taken in turn within a round, so that what else the machine does hits
    all of them. Whatever was started is stopped, however this ends.

    Raises:
        CannotStart: A server or a run failed.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="benchmark-")))
        mock = stack.enter_context(mock_dify(folder))
        served: dict[str, Served] = {}
        skipped: dict[str, str] = {}
        for name in plan.targets:
            try:
                served[name] = stack.enter_context(TARGETS[name](mock, folder))
            except Unavailable as error:
                skipped[name] = str(error)
        note(_conditions(plan, skipped))
        for job in _jobs(plan, served, mock):
            note(_run_job(job, folder))


def _jobs(plan: Plan, served: dict[str, Served], mock: Served) -> list[Job]:
    return [
        Job(
            target=name,
            port=target.port,
            dialect=target.dialect,
            scenario=SCENARIOS[scenario],
            round=number,
            seconds=plan.seconds,
            most_requests=plan.most_requests,
            target_pid=target.pid,
            target_core=target.core,
            mock_pid=mock.pid,
        )
        for number in range(1, plan.rounds + 1)
        for scenario in plan.scenarios
        for name, target in served.items()
    ]


def _run_job(job: Job, folder: Path) -> Measurement:
    log = folder / "load.log"
    log.write_bytes(b"")
    command = (sys.executable, "-m", "benchmarks.load")
    with started(command, core=harness_core(), log=log, output=subprocess.PIPE) as process:
        try:
            output, _ = process.communicate(msgspec.json.encode(job), timeout=job.seconds + _GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            raise CannotStart(f"{job.scenario.name} against {job.target} does not end") from None
    if process.returncode != 0:
        raise CannotStart(f"{job.scenario.name} against {job.target}: {log.read_text()[-2_000:]}")
    return msgspec.json.decode(output, type=Measurement)


def _conditions(plan: Plan, skipped: dict[str, str]) -> Conditions:
    return Conditions(
        at=datetime.now(UTC).isoformat(timespec="seconds"),
        commit=_commit(),
        cores=len(os.sched_getaffinity(0)),
        python=platform.python_version(),
        versions={name: importlib.metadata.version(name) for name in _PACKAGES},
        rounds=plan.rounds,
        seconds=plan.seconds,
        load_average=os.getloadavg()[0],
        skipped=skipped,
    )


def _commit() -> str:
    """With a `+` where the checkout differs from it; empty where git does not know."""
    command = ("git", "describe", "--always", "--dirty=+", "--exclude=*")
    found = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)  # noqa: S603 - No input.
    return found.stdout.strip()
