"""What pieces and requests cost, as a picture: one panel a scenario, one bar a target."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median
from xml.sax.saxutils import escape

from benchmarks.results import Line, Measurement, measurements
from benchmarks.scenarios import SCENARIOS, Scenario

_SHOWN = ("burst", "paced", "short", "block", "bigprompt")
_LABEL_WIDTH, _BAR_WIDTH, _VALUE_WIDTH = 130, 420, 90
_ROW_HEIGHT, _BAR_HEIGHT, _TITLE_HEIGHT = 22, 14, 40
_WIDTH = _LABEL_WIDTH + _BAR_WIDTH + _VALUE_WIDTH
_STYLE = (
    "text{font:12px sans-serif;fill:#57606a}.title{font-weight:bold}.bar{fill:#4f81bd}"
    ".range{stroke:#c0504d;stroke-width:2}"
)


@dataclass(frozen=True)
class _Bar:
    target: str
    costs: Sequence[float]


def build_plot(lines: Sequence[Line]) -> str:
    """An SVG: bars end at the median of the rounds, lines reach from the lowest to the highest."""
    runs = list(measurements(lines))
    parts: list[str] = []
    height = 0
    for name in _SHOWN:
        bars = list(_bars(SCENARIOS[name], runs))
        if bars:
            parts += _panel(SCENARIOS[name], bars, height)
            height += _TITLE_HEIGHT + _ROW_HEIGHT * len(bars)
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height + 10}" width="{_WIDTH}">',
            f"<style>{_STYLE}</style>",
            *parts,
            "</svg>\n",
        ]
    )


def _bars(scenario: Scenario, runs: Sequence[Measurement]) -> Iterator[_Bar]:
    own = [run for run in runs if run.scenario == scenario.name]
    for target in dict.fromkeys(run.target for run in own):
        costs = [
            run.us_per_piece if scenario.unit == "piece" else run.us_per_request
            for run in own
            if run.target == target
        ]
        yield _Bar(target, costs)


def _panel(scenario: Scenario, bars: Sequence[_Bar], top: int) -> Iterator[str]:
    scale = _BAR_WIDTH / max(max(bar.costs) for bar in bars)
    title = escape(f"{scenario.name}: CPU µs per {scenario.unit}")
    yield f'<text class="title" x="0" y="{top + 26}">{title}</text>'
    for index, bar in enumerate(bars):
        middle = top + _TITLE_HEIGHT + _ROW_HEIGHT * index
        width, low, high = (scale * cost for cost in (median(bar.costs), min(bar.costs), max(bar.costs)))
        yield f'<text x="0" y="{middle + 4}">{escape(bar.target)}</text>'
        yield (
            f'<rect class="bar" x="{_LABEL_WIDTH}" y="{middle - _BAR_HEIGHT // 2}" width="{width:.1f}" '
            f'height="{_BAR_HEIGHT}"/>'
        )
        yield (
            f'<line class="range" x1="{_LABEL_WIDTH + low:.1f}" x2="{_LABEL_WIDTH + high:.1f}" '
            f'y1="{middle}" y2="{middle}"/>'
        )
        yield f'<text x="{_LABEL_WIDTH + high + 8:.1f}" y="{middle + 4}">{median(bar.costs):,.1f}</text>'
