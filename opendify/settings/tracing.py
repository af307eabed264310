"""Whether and where traces go."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from opendify.configuration import readers as read
from opendify.configuration.fields import find_variable, setting, setting_without_default

_STANDARD_PREFIX: Final = "OTEL_"


@dataclass(frozen=True, kw_only=True)
class TracingSettings:
    """See the module.

    Everything else stands in `standard`: the variables that OpenTelemetry defines, which may hold
    secrets, and which its SDK reads by itself.
    """

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
    standard: Mapping[str, str] = field(default_factory=dict, repr=False)


def standard_variables(environ: Mapping[str, str]) -> Mapping[str, str]:
    """Those of OpenTelemetry's own that are set."""
    texts = {name: find_variable(name, environ) for name in environ if name.startswith(_STANDARD_PREFIX)}
    return {name: text for name, text in texts.items() if text}
