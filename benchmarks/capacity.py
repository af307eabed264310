"""`python -m benchmarks.capacity` writes the tables of `docs/capacity*.md` from the newest kept results."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from statistics import median
from typing import Final

from benchmarks.maximum import is_held
from benchmarks.processes import PROJECT
from benchmarks.results import Conditions, Line, Measurement, WorkerMemory, measurements, read_lines

RESULTS: Final = PROJECT / "benchmarks/results"
PAGES: Final = {"en": PROJECT / "docs/capacity.md", "zh": PROJECT / "docs/capacity.zh-CN.md"}
_START, _END = "<!-- capacity -->", "<!-- end of capacity -->"
_OURS: Final = "opendify"

# What an ordinary day is taken to be; the pages say so too.
_REQUESTS_A_DAY: Final = (10_000, 100_000, 1_000_000, 10_000_000)
_BUSIEST_HOUR: Final = 0.1
_ANSWER_SECONDS: Final = 10
_PIECES_A_SECOND: Final = 50
_BUSY: Final = 0.6
_LEAST_WORKERS: Final = 2


@dataclass(frozen=True)
class Figures:
    """Medians of one session, of one worker on one core. Costs are processor time; `None` is not measured."""

    conditions: Conditions
    workers: WorkerMemory
    request_us: float
    whole_request_us: float
    burst_piece_us: float
    paced_piece_us: float
    first_piece_ms: float
    lag_ms: float
    stream_kb: float
    most_streams: int | None

    def rows(self) -> Iterator[tuple[str, str]]:
        """What one worker does on its core."""
        yield "streamed", f"{1e6 / self.request_us:,.0f}"
        yield "whole", f"{1e6 / self.whole_request_us:,.0f}"
        yield "burst", f"{1e6 / self.burst_piece_us:,.0f}"
        yield "streams", f"{1e6 / self.paced_piece_us / _PIECES_A_SECOND:,.0f}"
        if self.most_streams is not None:
            yield "held", f"{self.most_streams:,}"
        yield "first", f"{self.first_piece_ms:.1f} ms"
        yield "lag", f"{self.lag_ms:.1f} ms"
        yield "memory", f"{self.workers.first_mb:.0f} MB"
        yield "further", f"{self.workers.further_mb:.0f} MB"
        yield "stream", f"{self.stream_kb:.0f} KB"

    def need(self, requests_a_day: int) -> Sequence[str]:
        """Requests a second and streams at once in the busiest hour, and the workers and memory for them."""
        rate = requests_a_day * _BUSIEST_HOUR / 3_600
        streams = rate * _ANSWER_SECONDS
        answer_us = self.request_us + _ANSWER_SECONDS * _PIECES_A_SECOND * self.paced_piece_us
        workers = max(_LEAST_WORKERS, ceil(rate * answer_us / 1e6 / _BUSY))
        memory_mb = (
            self.workers.first_mb + (workers - 1) * self.workers.further_mb + streams * self.stream_kb / 1_000
        )
        return (
            f"{requests_a_day:,}",
            f"{rate:,.1f}",
            f"{streams:,.0f}",
            f"{workers:,}",
            f"{memory_mb:,.0f} MB",
        )


def read_figures(lines: Sequence[Line]) -> Figures:
    """What a session says of the service as it is shipped.

    Raises:
        StopIteration: It lacks its conditions, or the workers' memory.
        StatisticsError: It lacks a scenario that is needed.
    """
    runs = [run for run in measurements(lines) if run.target == _OURS]
    alone = {(run.scenario, run.round): run for run in measurements(lines) if run.target == "mock"}

    def middle(scenario: str, value: Callable[[Measurement], float]) -> float:
        return median(value(run) for run in runs if run.scenario == scenario)

    def added(run: Measurement, value: Callable[[Measurement], float]) -> float:
        return value(run) - value(alone[run.scenario, run.round])

    held = [run.clients for run in runs if run.scenario == "max" and is_held(run)]
    return Figures(
        conditions=next(line for line in lines if isinstance(line, Conditions)),
        workers=next(line for line in lines if isinstance(line, WorkerMemory)),
        request_us=middle("short", lambda run: run.us_per_request),
        whole_request_us=middle("block", lambda run: run.us_per_request),
        burst_piece_us=middle("burst", lambda run: run.us_per_piece),
        paced_piece_us=middle("paced", lambda run: run.us_per_piece),
        first_piece_ms=middle("paced", lambda run: added(run, lambda each: each.first_piece_ms_p50)),
        lag_ms=middle("paced", lambda run: added(run, lambda each: each.lag_ms_p50)),
        stream_kb=middle("idle", lambda run: 1e3 * (run.memory_mb - run.memory_mb_before) / max(1, run.live)),
        most_streams=max(held, default=None),
    )


def newest_figures(results: Path = RESULTS) -> Figures:
    """Of the session that was measured last among those that are kept."""
    sessions = [read_lines(file) for file in sorted(results.glob("*.jsonl"))]
    return max(map(read_figures, sessions), key=lambda figures: figures.conditions.at)


_WORDS: Final[Mapping[str, Mapping[str, str]]] = {
    "en": {
        "from": "Measured {at}, commit {commit}, on {cores} cores ({processor}), Python {python}.",
        "one": "one worker on one core",
        "day": "requests a day | requests a second | streams at once | workers, each with a core | memory",
        "streamed": "streamed requests a second, of one piece",
        "whole": "whole answers a second, of one piece",
        "burst": "pieces a second, in long bursts",
        "streams": "streams of 50 pieces a second, by their processor time",
        "held": "streams of 50 pieces a second that were really held",
        "first": "added to the time of the first piece (median)",
        "lag": "added to every piece (median)",
        "memory": "memory of an idle instance, master and one worker",
        "further": "memory of each further worker",
        "stream": "memory of each open stream",
    },
    "zh": {
        "from": "{at} 测得 · 提交 {commit} · {cores} 核 {processor} · Python {python}",
        "one": "一个核心上的一个 worker",
        "day": "每天请求数 | 每秒请求数 | 同时的流 | 各占一核的 worker 数 | 内存",
        "streamed": "每秒流式请求数 · 各一片",
        "whole": "每秒完整回答数 · 各一片",
        "burst": "长突发中每秒的片数",
        "streams": "按处理器时间计算的每秒 50 片的流的数量",
        "held": "实际保持住的每秒 50 片的流的数量",
        "first": "首片增加的时间 · 中位数",
        "lag": "每片增加的时间 · 中位数",
        "memory": "空闲实例的内存 · 主进程与一个 worker",
        "further": "每多一个 worker 的内存",
        "stream": "每个打开的流的内存",
    },
}


def build_tables(figures: Figures, language: str) -> str:
    """What stands between the marks of a page."""
    words, conditions = _WORDS[language], figures.conditions
    told = words["from"].format(
        at=conditions.at[:10],
        commit=conditions.commit or "unknown",
        cores=conditions.cores,
        processor=conditions.processor,
        python=conditions.python,
    )
    rows = [f"| {words[name]} | {value} |" for name, value in figures.rows()]
    needs = [f"| {' | '.join(figures.need(requests))} |" for requests in _REQUESTS_A_DAY]
    return "\n".join(
        [
            *(told, "", f"| {words['one']} | |", "| --- | ---: |", *rows, ""),
            *(f"| {words['day']} |", "| ---: | ---: | ---: | ---: | ---: |", *needs),
        ]
    )


def with_tables(page: str, tables: str) -> str:
    """The page with these in place of what stood between its marks.

    Raises:
        ValueError: It has no such marks.
    """
    before, start, rest = page.partition(_START)
    _, end, after = rest.partition(_END)
    if not end:
        raise ValueError(f"the page has no {_START} and {_END}")
    return f"{before}{start}\n\n{tables}\n\n{end}{after}"


def main() -> None:
    """Write both pages."""
    figures = newest_figures()
    for language, file in PAGES.items():
        page = file.read_text(encoding="utf-8")
        file.write_text(with_tables(page, build_tables(figures, language)), encoding="utf-8")


if __name__ == "__main__":
    main()
