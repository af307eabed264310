"""An exporter of metrics that keeps what it is given."""

from typing import Any

from opentelemetry.sdk.metrics.export import MetricExporter, MetricExportResult, MetricsData


class Exporter(MetricExporter):
    """`exported` are the batches, `is_over` whether it was let go of."""

    def __init__(self) -> None:
        super().__init__()
        self.exported: list[MetricsData] = []
        self.is_over = False

    def export(
        self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: Any
    ) -> MetricExportResult:
        self.exported.append(metrics_data)
        return MetricExportResult.SUCCESS

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        return True

    def shutdown(self, timeout_millis: float = 30_000, **kwargs: Any) -> None:
        self.is_over = True
