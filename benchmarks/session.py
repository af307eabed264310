"""A session: all targets started once, then measured in turn, round by round."""

import importlib.metadata
import os
import platform
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import msgspec

from benchmarks.maximum import find_most
from benchmarks.processes import PROJECT, CannotStart, load_core, memory_mb, started
from benchmarks.results import Conditions, Job, Line, Measurement, WorkerMemory
from benchmarks.scenarios import SCENARIOS, Scenario, many_streams
from benchmarks.targets import Served, Target, Unavailable, mock_dify, opendify

_GRACE_SECONDS = 90.0
_PACKAGES = ("gunicorn", "gevent", "flask", "httpx", "httptools", "msgspec", "pydantic")
_MANY_WORKERS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to measure, in the order in which each round does it."""

    targets: Mapping[str, Target]
    scenarios: Sequence[str]
    rounds: int
    seconds: float
    most_requests: int
    mock_port: int = 0
    finds_most: Sequence[str] = ()
    weighs_workers: bool = False


def run_session(plan: Plan, note: Callable[[Line], None]) -> None:
    """Measure; `note` gets each line as soon as it is known.

    Targets are taken in turn within a round, every other round the other way round, so that
    what else the machine does hits all of them. Whatever was started is stopped, however this ends.

    Raises:
        CannotStart: A server or a run failed.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="benchmark-")))
        session = Session(plan, folder, stack.enter_context(mock_dify(folder, plan.mock_port)))
        skipped: dict[str, str] = {}
        for name, target in plan.targets.items():
            try:
                session.served[name] = stack.enter_context(session.start(target))
            except Unavailable as error:
                skipped[name] = str(error)
        note(_conditions(plan, skipped))
        for line in session.lines():
            note(line)


@dataclass
class Session:
    """The targets that are there, and how they are measured."""

    plan: Plan
    folder: Path
    mock: Served
    served: dict[str, Served] = field(default_factory=dict)

    @contextmanager
    def start(self, target: Target) -> Iterator[Served]:
        """Start it with a folder to itself."""
        with target(self.mock, Path(tempfile.mkdtemp(dir=self.folder))) as served:
            yield served

    def lines(self) -> Iterator[Line]:
        """Everything that the plan asks for, as it is measured."""
        if self.plan.weighs_workers:
            yield self._weigh_workers()
        for number in range(1, self.plan.rounds + 1):
            for scenario in map(SCENARIOS.__getitem__, self.plan.scenarios):
                if number == 1 or not scenario.once:
                    for name in sorted(self.served, key=list(self.served).index, reverse=number % 2 == 0):
                        yield self._measure(name, scenario, number)
        for name in self.plan.finds_most:
            if name in self.served:
                yield from find_most(partial(self._measure_many, name))

    def _measure_many(self, name: str, clients: int) -> Measurement:
        return self._measure(name, many_streams(clients), 1)

    def _measure(self, name: str, scenario: Scenario, number: int) -> Measurement:
        if not scenario.starts_fresh:
            return self._run(name, self.served[name], scenario, number)
        with self.start(self.plan.targets[name]) as fresh:
            return self._run(name, fresh, scenario, number)

    def _run(self, name: str, served: Served, scenario: Scenario, number: int) -> Measurement:
        job = Job(
            target=name,
            door=served.door,
            scenario=scenario,
            round=number,
            seconds=self.plan.seconds,
            most_requests=self.plan.most_requests,
            target_pid=served.pid,
            target_core=served.core,
            mock_pid=self.mock.pid,
            mock_port=self.mock.door.port,
            shares_core=load_core() == self.mock.core,
        )
        return _run_job(job, self.folder)

    def _weigh_workers(self) -> WorkerMemory:
        """What an idle server takes with one worker, and each further one adds, after some requests."""
        few, many = (self._weigh(workers) for workers in (1, _MANY_WORKERS))
        return WorkerMemory(first_mb=few, further_mb=(many - few) / (_MANY_WORKERS - 1))

    def _weigh(self, workers: int) -> float:
        target = opendify(transport="sockets", worker_class="sync", workers=workers)
        with self.start(target) as served:
            self._run("opendify", served, SCENARIOS["short"], 0)
            return memory_mb(served.pid)


def _run_job(job: Job, folder: Path) -> Measurement:
    log = folder / "load.log"
    log.write_bytes(b"")
    command = (sys.executable, "-m", "benchmarks.load")
    seconds = max(job.seconds, job.scenario.least_seconds)
    with started(command, core=load_core(), log=log, output=subprocess.PIPE) as process:
        try:
            output, _ = process.communicate(msgspec.json.encode(job), timeout=seconds + _GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            raise CannotStart(f"{job.scenario.name} against {job.target} does not end") from None
    if process.returncode != 0:
        raise CannotStart(f"{job.scenario.name} against {job.target}: {log.read_text()[-2_000:]}")
    return msgspec.json.decode(output, type=Measurement)


def _conditions(plan: Plan, skipped: dict[str, str]) -> Conditions:
    installed = {found.name: found.version for found in importlib.metadata.distributions()}
    return Conditions(
        at=datetime.now(UTC).isoformat(timespec="seconds"),
        commit=_commit(),
        cores=len(os.sched_getaffinity(0)),
        processor=_processor(),
        python=platform.python_version(),
        versions={name: installed[name] for name in _PACKAGES if name in installed},
        rounds=plan.rounds,
        seconds=plan.seconds,
        load_average=os.getloadavg()[0],
        skipped=skipped,
    )


def _processor() -> str:
    found = re.search(
        r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(encoding="utf-8"), re.MULTILINE
    )
    return found[1] if found else platform.machine()


def _commit() -> str:
    """With a `+` where the checkout differs from it; empty where git does not know."""
    command = ("git", "describe", "--always", "--dirty=+", "--exclude=*")
    found = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)  # noqa: S603 - No input.
    return found.stdout.strip()
