"""Draws the Grafana dashboard from a Prometheus, where no Grafana is at hand.

python -m benchmarks.dashboard http://127.0.0.1:9090 docs/dashboard.png --minutes 10
"""

import argparse
import json
import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import httpx
import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, Formatter, PercentFormatter

from opendify.settings import PROJECT_FOLDER

DASHBOARD: Final = PROJECT_FOLDER / "deploy/monitoring/grafana/opendify.json"
_POINTS: Final = 240
_FORMATS: Final[Mapping[str, Formatter]] = {
    "percentunit": PercentFormatter(1.0),
    "s": EngFormatter("s"),
    "bytes": EngFormatter("B"),
}

Series = dict[str, Any]
"""As Prometheus answers a range query: `metric` and `values`."""


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("prometheus", help="its address")
    parser.add_argument("picture", type=Path, help="the PNG to write")
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--rate-interval", default="1m")
    told = parser.parse_args()
    ends_at = time.time()
    span = (ends_at - told.minutes * 60, ends_at)
    with httpx.Client(base_url=told.prometheus, timeout=30) as client:
        draw(client, told.picture, span, told.rate_interval)


def draw(client: httpx.Client, picture: Path, span: tuple[float, float], rate_interval: str) -> None:
    """Write the picture of all panels between two Unix times."""
    mpl.rcParams.update({"font.size": 8, "axes.grid": True, "grid.alpha": 0.3, "axes.spines.top": False})
    dashboard = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    panels = dashboard["panels"]
    rows = (len(panels) + 2) // 3
    figure = Figure(figsize=(18, 2.9 * rows), layout="constrained")
    figure.suptitle(dashboard["title"], fontsize=14, fontweight="bold")
    for place, panel in zip(figure.subplots(rows, 3).flat, panels, strict=False):
        lines = [
            (_legend(target["legendFormat"], series["metric"]), series["values"])
            for target in panel["targets"]
            for series in _ask(client, target["expr"], span, rate_interval)
        ]
        _draw_panel(place, panel, lines, span)
    figure.savefig(picture, dpi=70)


def _ask(
    client: httpx.Client, expression: str, span: tuple[float, float], rate_interval: str
) -> list[Series]:
    expression = expression.replace("$__rate_interval", rate_interval)
    expression = re.sub(r"\$(instance|model)\b", ".*", expression)
    step = max(1.0, (span[1] - span[0]) / _POINTS)
    asked: dict[str, str | float] = {"query": expression, "start": span[0], "end": span[1], "step": step}
    answer = client.get("/api/v1/query_range", params=asked).raise_for_status().json()
    result: list[Series] = answer["data"]["result"]
    return result


def _legend(form: str, metric: Mapping[str, str]) -> str:
    return re.sub(r"\{\{(\w+)\}\}", lambda found: metric.get(found[1], ""), form)


def _draw_panel(
    place: Axes,
    panel: Mapping[str, Any],
    lines: Sequence[tuple[str, Sequence[tuple[float, str]]]],
    span: tuple[float, float],
) -> None:
    place.set_title(panel["title"], loc="left", fontweight="bold")
    for legend, points in lines:
        minutes = [(moment - span[1]) / 60 for moment, _ in points]
        place.plot(minutes, [float(value) for _, value in points], label=legend, linewidth=1.2)
    place.set_xlim((span[0] - span[1]) / 60, 0)
    place.set_ylim(bottom=0)
    place.set_xlabel("minutes", loc="right")
    unit = panel["fieldConfig"]["defaults"]["unit"]
    if unit in _FORMATS:
        place.yaxis.set_major_formatter(_FORMATS[unit])
    if lines:
        place.legend(loc="upper left", fontsize=7, ncols=2, framealpha=0.6)
    else:
        place.text(0.5, 0.5, "nothing in this time", ha="center", transform=place.transAxes, color="grey")


if __name__ == "__main__":
    main()
