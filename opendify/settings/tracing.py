"""Whether and where traces go."""

from dataclasses import dataclass

from opendify.configuration import readers as read
from opendify.configuration.fields import setting, setting_without_default


@dataclass(frozen=True, kw_only=True)
class TracingSettings:
    """See the module. Everything else the SDK reads by itself, from the standard `OTEL_…` variables."""

    enabled: bool = setting(
        "ENABLE_OTEL",
        read.flag,
        "false",
        "Whether OpenTelemetry is told of every request; needs the extra `opendify[otel]`.",
    )
    trace_endpoint: str | None = setting_without_default(
        "OTLP_TRACE_ENDPOINT",
        read.short_text,
        None,
        "Where traces go, OTLP over HTTP, such as `http://collector:4318/v1/traces`. Unset: what the "
        "standard variables say.",
    )
    metric_endpoint: str | None = setting_without_default(
        "OTLP_METRIC_ENDPOINT",
        read.short_text,
        None,
        "Where the GenAI metrics go, such as `http://collector:4318/v1/metrics`. Unset: nowhere.",
    )
    sampling_rate: float | None = setting_without_default(
        "OTEL_SAMPLING_RATE",
        read.share,
        None,
        "The share of traces that begin here and are kept, from 0 to 1; callers that send a context decide "
        "for theirs. Unset: what the standard variables say, else all.",
    )
