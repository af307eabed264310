"""The GenAI histograms, added up here and exported now and then: the SDK takes ten times as long.

Imported only where they are on.
"""

import atexit
import threading
import time
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Histogram,
    HistogramDataPoint,
    Metric,
    MetricExporter,
    MetricsData,
    ResourceMetrics,
    ScopeMetrics,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from opendify import __version__
from opendify.telemetry.span_shapes import CONVENTIONS, AttributeItems

_INTERVAL: Final = ("OTEL_METRIC_EXPORT_INTERVAL", 60_000.0)
_TIMEOUT: Final = ("OTEL_METRIC_EXPORT_TIMEOUT", 30_000.0)
_TEMPORALITY: Final = "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE"
_MOST_SERIES: Final = 1_000


@dataclass(slots=True)
class _Series:
    """What was noted with the same attributes, since `began_at` (Unix nanoseconds)."""

    counts: list[int]
    began_at: int
    sum: float = 0.0
    least: float = float("inf")
    most: float = float("-inf")


@dataclass
class GenAIHistogram:
    """Sizes that were noted, by their attributes; safe for threads. `bounds` are between its buckets."""

    name: str
    unit: str
    bounds: tuple[float, ...]
    _series: dict[AttributeItems, _Series] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, size: float, attributes: AttributeItems) -> None:
        """One more; once there are too many different attributes, others are left out."""
        with self._lock:
            series = self._series.get(attributes) or self._begin(attributes)
            series.counts[bisect_left(self.bounds, size)] += 1
            series.sum += size
            # `min` and `max` take longer.
            if size < series.least:
                series.least = size
            if size > series.most:
                series.most = size

    def _begin(self, key: AttributeItems) -> _Series:
        series = _Series([0] * (len(self.bounds) + 1), time.time_ns())
        if len(self._series) < _MOST_SERIES:
            self._series[key] = series
        return series

    def points(self, *, anew: bool) -> list[HistogramDataPoint]:
        """What was noted, in the SDK's form; with `anew` what comes later is counted from nothing."""
        now = time.time_ns()
        with self._lock:
            points = [self._point(key, series, now) for key, series in self._series.items()]
            if anew:
                self._series.clear()
        return points

    def _point(self, key: AttributeItems, series: _Series, now: int) -> HistogramDataPoint:
        return HistogramDataPoint(
            attributes=dict(key),
            start_time_unix_nano=series.began_at,
            time_unix_nano=now,
            count=sum(series.counts),
            sum=series.sum,
            bucket_counts=tuple(series.counts),
            explicit_bounds=self.bounds,
            min=series.least,
            max=series.most,
        )


class GenAIMetrics:
    """What runs took and used, exported by a thread of its own, and once more when the process ends."""

    def __init__(self, exporter: MetricExporter, resource: Resource, standard: Mapping[str, str]) -> None:
        """`standard` are OpenTelemetry's own variables, of which those of periodic exports are heeded."""
        self.durations = GenAIHistogram(
            "gen_ai.client.operation.duration", "s", tuple(0.01 * 2**power for power in range(14))
        )
        self.tokens = GenAIHistogram(
            "gen_ai.client.token.usage", "{token}", tuple(float(4**power) for power in range(14))
        )
        self._exporter = exporter
        self._resource = resource
        self._seconds = _milliseconds(standard, _INTERVAL) / 1000
        self._timeout_milliseconds = _milliseconds(standard, _TIMEOUT)
        self._is_delta = standard.get(_TEMPORALITY, "").lower() in {"delta", "lowmemory"}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._export_now_and_then, name="genai-metrics", daemon=True)

    def begin(self) -> None:
        """From now on they are exported."""
        self._thread.start()
        atexit.register(self.end)

    def end(self) -> None:
        """Export what is left, and let go of the exporter."""
        self._ended.set()
        self._thread.join(self._timeout_milliseconds / 1000)
        self._exporter.shutdown(self._timeout_milliseconds)

    def _export_now_and_then(self) -> None:
        is_over = False
        while not is_over:
            is_over = self._ended.wait(self._seconds)
            self.export()

    def export(self) -> None:
        """Send all that was noted, if anything was."""
        metrics = [metric for each in (self.durations, self.tokens) if (metric := self._metric(each))]
        if not metrics:
            return
        scope = InstrumentationScope("opendify", __version__, CONVENTIONS)
        told = ResourceMetrics(self._resource, [ScopeMetrics(scope, metrics, CONVENTIONS)], "")
        self._exporter.export(MetricsData([told]), self._timeout_milliseconds)

    def _metric(self, histogram: GenAIHistogram) -> Metric | None:
        points = histogram.points(anew=self._is_delta)
        temporality = AggregationTemporality.DELTA if self._is_delta else AggregationTemporality.CUMULATIVE
        return Metric(histogram.name, "", histogram.unit, Histogram(points, temporality)) if points else None


def _milliseconds(standard: Mapping[str, str], variable: tuple[str, float]) -> float:
    name, usual = variable
    try:
        given = float(standard.get(name, usual))
    except ValueError:
        return usual
    return given if 0 < given < float("inf") else usual
