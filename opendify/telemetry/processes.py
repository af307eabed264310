"""What each process of the server takes of the machine, read when somebody asks.

The library's own process metrics do not exist where several processes share their numbers.
"""

import contextlib
import gc
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from opendify.telemetry.instruments import COLLECTIONS
from opendify.telemetry.metrics import METRICS

if TYPE_CHECKING:
    from prometheus_client.core import Metric

_PREFIX: Final = "process-"
_TICKS_A_SECOND: Final = os.sysconf("SC_CLK_TCK")
_TELL_EVERY_SECONDS: Final = 10.0
_KILOBYTE: Final = 1024
# name, what it says, the key of `_read_process`.
_GAUGES: Final = (
    ("opendify_worker_rss_bytes", "Memory of the process.", "rss"),
    ("opendify_worker_pss_bytes", "The same, but shared memory by the share of the process.", "pss"),
    ("opendify_worker_threads", "Threads of the process.", "threads"),
    ("opendify_worker_open_fds", "Open files and sockets of the process.", "fds"),
)


def note_process(folder: Path, name: str) -> None:
    """This process is called `name` from now on."""
    (folder / f"{_PREFIX}{name}").write_text(str(os.getpid()))


def forget_process(folder: Path, name: str) -> None:
    """It has ended."""
    (folder / f"{_PREFIX}{name}").unlink(missing_ok=True)


class CollectionsTold:
    """This process's collections of garbage, which no other process can read.

    They are told after requests, since an idle process collects nothing; and not by a
    callback of the collector's, which may run while a number is being changed.
    """

    def __init__(self) -> None:
        self._next_at = 0.0

    def tell(self, now: float) -> None:
        """Publish them, unless that was done a moment ago; `now` is monotonic."""
        if now < self._next_at:
            return
        self._next_at = now + _TELL_EVERY_SECONDS
        for generation, facts in enumerate(gc.get_stats()):
            COLLECTIONS.set(facts["collections"], METRICS.process or "1", str(generation))


collections_told: Final = CollectionsTold()


class ProcessCollector:
    """The processes that are noted in a folder, or this one alone."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    def collect(self) -> Iterator["Metric"]:
        """See `prometheus_client.registry.Collector`."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        processes = {name: _read_process(pid) for name, pid in self._pids().items()}
        for metric, about, key in _GAUGES:
            family = GaugeMetricFamily(metric, about, labels=["worker"])
            for name, facts in processes.items():
                if key in facts:
                    family.add_metric([name], facts[key])
            yield family
        seconds = CounterMetricFamily(
            "opendify_worker_cpu_seconds_total", "Processor time of the process.", labels=["worker"]
        )
        for name, facts in processes.items():
            if "cpu" in facts:
                seconds.add_metric([name], facts["cpu"])
        yield seconds

    def _pids(self) -> Mapping[str, int]:
        if self._folder is None:
            return {"1": os.getpid()}
        files = sorted(self._folder.glob(f"{_PREFIX}*"))
        texts = {file.name.removeprefix(_PREFIX): _text(file) for file in files}
        return {name: int(text) for name, text in texts.items() if text}


def _read_process(pid: int) -> Mapping[str, float]:
    """As much of it as the system tells: nothing of a process that has just ended."""
    folder = Path("/proc") / str(pid)
    status = dict(line.split(":", 1) for line in _text(folder / "status").splitlines() if ":" in line)
    memory = dict(line.split(":", 1) for line in _text(folder / "smaps_rollup").splitlines() if ":" in line)
    facts: dict[str, float] = {}
    if "VmRSS" in status:
        facts["rss"] = int(status["VmRSS"].split()[0]) * _KILOBYTE
    if "Threads" in status:
        facts["threads"] = int(status["Threads"])
    if "Pss" in memory:
        facts["pss"] = int(memory["Pss"].split()[0]) * _KILOBYTE
    # The name of the program stands in brackets and may hold anything.
    if times := _text(folder / "stat").rpartition(")")[2].split():
        facts["cpu"] = (int(times[11]) + int(times[12])) / _TICKS_A_SECOND
    with contextlib.suppress(OSError):
        facts["fds"] = len(os.listdir(folder / "fd"))  # noqa: PTH208 - Only their number.
    return facts


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
