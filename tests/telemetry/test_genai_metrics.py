"""The GenAI histograms as a collector gets them."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Histogram,
    HistogramDataPoint,
    InMemoryMetricReader,
    MetricsData,
)
from opentelemetry.sdk.resources import Resource

from opendify.telemetry.genai_metrics import GenAIHistogram, GenAIMetrics
from opendify.telemetry.span_shapes import AttributeItems
from tests.fakes.otlp import Exporter

SIZES = (0.0, 0.01, 0.015, 0.02, 3.0, 1e9)
CHAT: AttributeItems = (("gen_ai.operation.name", "chat"), ("server.port", 443))


def _points(data: MetricsData) -> list[HistogramDataPoint]:
    metrics = [metric for each in data.resource_metrics[0].scope_metrics for metric in each.metrics]
    return [point for metric in metrics for point in metric.data.data_points]  # type: ignore[misc] # Histograms.


def test_it_adds_up_as_the_sdk_does() -> None:
    reader = InMemoryMetricReader()
    metrics = GenAIMetrics(exporter := Exporter(), Resource({}), {})
    theirs = (
        MeterProvider([reader])
        .get_meter("tests")
        .create_histogram("h", explicit_bucket_boundaries_advisory=list(metrics.durations.bounds))
    )
    for size in SIZES:
        theirs.record(size, dict(CHAT))
        metrics.durations.note(size, CHAT)

    metrics.export()

    (ours,), (sdks,) = _points(exporter.exported[0]), _points(reader.get_metrics_data())  # type: ignore[arg-type] # There are some.
    for name in ("attributes", "count", "sum", "bucket_counts", "explicit_bounds", "min", "max"):
        assert getattr(ours, name) == getattr(sdks, name), name
    assert ours.start_time_unix_nano <= ours.time_unix_nano


@pytest.mark.parametrize(
    ("preference", "counts", "temporality"),
    [
        ("cumulative", [1, 2], AggregationTemporality.CUMULATIVE),
        ("DELTA", [1, 1], AggregationTemporality.DELTA),
    ],
)
def test_each_export_tells_all_or_what_is_new(
    preference: str, counts: list[int], temporality: AggregationTemporality
) -> None:
    standard = {"OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": preference}
    metrics = GenAIMetrics(exporter := Exporter(), Resource({}), standard)

    metrics.export()
    for _ in counts:
        metrics.tokens.note(5, CHAT)
        metrics.export()

    assert [_points(data)[0].count for data in exporter.exported] == counts, "nothing is sent of nothing"
    told = exporter.exported[0].resource_metrics[0].scope_metrics[0].metrics[0].data
    assert isinstance(told, Histogram)
    assert told.aggregation_temporality is temporality


def test_what_is_left_is_sent_at_the_end() -> None:
    metrics = GenAIMetrics(exporter := Exporter(), Resource({}), {"OTEL_METRIC_EXPORT_INTERVAL": "none"})
    metrics.begin()
    metrics.tokens.note(5, CHAT)

    metrics.end()

    assert [_points(data)[0].count for data in exporter.exported] == [1]
    assert exporter.is_over


def test_threads_lose_nothing_and_strangers_fill_nothing() -> None:
    histogram = GenAIHistogram("h", "s", (1.0,))
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda _: histogram.note(0.5, CHAT), range(2_000)))
    for number in range(2_000):
        histogram.note(1, (("model", number),))

    points = histogram.points(anew=False)
    assert len(points) == 1_000
    assert points[0].count == 2_000
