"""Traces and GenAI metrics over OTLP, where `ENABLE_OTEL` asks for them: a span a request, and one a run.

The names are those of one release of OpenTelemetry's conventions, which change often. Spans
hold ids, counts and times; never contents, which the conventions leave to choice.

Source: https://opentelemetry.io/docs/specs/semconv/gen-ai/
"""

import importlib.util
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from opendify import __version__
from opendify.records import Headers
from opendify.settings import SettingsError
from opendify.settings.tracing import TracingSettings

if TYPE_CHECKING:
    from opentelemetry.metrics import Histogram
    from opentelemetry.trace import Span, Tracer

    from opendify.telemetry.observation import Observation, RunRecord

CONVENTIONS: Final = "https://opentelemetry.io/schemas/1.44.0"
_PROVIDER: Final = "dify"
# A mode that is not here answers in a chat.
_OPERATIONS: Final[Mapping[str, str]] = {
    "completion": "text_completion",
    "workflow": "invoke_workflow",
    "agent-chat": "invoke_agent",
    "agent": "invoke_agent",
}
_DURATION_BUCKETS: Final = [0.01 * 2**power for power in range(14)]
_TOKEN_BUCKETS: Final = [float(4**power) for power in range(14)]
_NANOSECONDS: Final = 1_000_000_000


class Tracing:
    """Makes the traces of one process; nothing is open before its first request, so after the fork."""

    def __init__(self, settings: TracingSettings) -> None:
        """See the class.

        Raises:
            SettingsError: OpenTelemetry is not installed.
        """
        if importlib.util.find_spec("opentelemetry") is None:
            raise SettingsError("ENABLE_OTEL needs OpenTelemetry: pip install 'opendify[otel]'")
        self._settings = settings
        self._lock = threading.Lock()
        self._tools: _Tools | None = None

    def begin(self, method: str, headers: Headers) -> "RequestTrace":
        """A request came, maybe from a caller that is traced itself."""
        from opentelemetry.trace import SpanKind
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        tools = self._tools or self._open()
        names = ("traceparent", "tracestate")
        sent = {name: value for name in names if (value := headers.get(name))}
        span = tools.tracer.start_span(
            method, context=TraceContextTextMapPropagator().extract(sent), kind=SpanKind.SERVER
        )
        return RequestTrace(tools, span)

    def _open(self) -> "_Tools":
        with self._lock:
            if self._tools is None:
                self._tools = _open_tools(self._settings)
            return self._tools


class RequestTrace:
    """The span of a request, and those of its runs."""

    def __init__(self, tools: "_Tools", span: "Span") -> None:
        self._tools = tools
        self._span = span
        # The request's own times are of a clock that knows no date.
        self._offset = time.time() - time.monotonic()

    def begin_run(self) -> "RunTrace":
        """A run at Dify is about to begin."""
        from opentelemetry.trace import SpanKind, set_span_in_context

        context = set_span_in_context(self._span)
        return RunTrace(self._tools.tracer.start_span(_PROVIDER, context=context, kind=SpanKind.CLIENT))

    def end(self, seen: "Observation") -> None:
        """The request ended."""
        for run in seen.runs:
            if run.trace:
                self._end_run(run.trace.span, run, seen)
        span = self._span
        span.update_name(f"{seen.method} {seen.route}")
        span.set_attributes(
            {
                "http.request.method": seen.method,
                "http.route": seen.route,
                "http.response.status_code": seen.status,
                "opendify.request_id": seen.request_id,
                "opendify.outcome": seen.outcome,
            }
        )
        _mark_failure(span, seen.error, is_ours=seen.status >= 500 or seen.streams)
        span.end()

    def _end_run(self, span: "Span", run: "RunRecord", seen: "Observation") -> None:
        is_last = run is seen.runs[-1]
        operation = _OPERATIONS.get(run.mode, "chat")
        span.update_name(f"{operation} {run.model}")
        shared = {
            "gen_ai.operation.name": operation,
            "gen_ai.provider.name": _PROVIDER,
            "gen_ai.request.model": seen.model,
            "gen_ai.response.model": run.model,
            **_server_of(run.server),
        }
        span.set_attributes(shared)
        _mark_failure(span, run.error, is_ours=True)
        ended_at = run.clock() if run.ended_at is None else run.ended_at
        if is_last and seen.is_whole:
            span.set_attributes(
                {
                    "gen_ai.usage.input_tokens": seen.prompt_tokens,
                    "gen_ai.usage.output_tokens": seen.completion_tokens,
                }
            )
            self._tools.note_tokens(seen.prompt_tokens, {**shared, "gen_ai.token.type": "input"})
            self._tools.note_tokens(seen.completion_tokens, {**shared, "gen_ai.token.type": "output"})
        if is_last and seen.first_text_at is not None:
            span.set_attribute("gen_ai.response.time_to_first_chunk", seen.first_text_at - run.began_at)
        failure = {"error.type": _type_of(run.error)} if run.error else {}
        self._tools.note_duration(ended_at - run.began_at, {**shared, **failure})
        span.end(end_time=int((ended_at + self._offset) * _NANOSECONDS))


@dataclass(frozen=True, slots=True)
class RunTrace:
    """The span of a run, and how Dify is told of it."""

    span: "Span"

    @property
    def trace_id(self) -> str:
        """32 hexadecimal digits, as Dify's `trace_id` takes them."""
        return f"{self.span.get_span_context().trace_id:032x}"

    @property
    def traceparent(self) -> str:
        """The W3C header that makes Dify's own spans children of this one."""
        context = self.span.get_span_context()
        return f"00-{self.trace_id}-{context.span_id:016x}-{context.trace_flags:02x}"


@dataclass(frozen=True, slots=True)
class _Tools:
    tracer: "Tracer"
    durations: "Histogram | None" = None
    tokens: "Histogram | None" = None

    def note_duration(self, seconds: float, attributes: Mapping[str, str | int]) -> None:
        if self.durations:
            self.durations.record(seconds, attributes)

    def note_tokens(self, count: int, attributes: Mapping[str, str | int]) -> None:
        if self.tokens and count:
            self.tokens.record(count, attributes)


def _open_tools(settings: TracingSettings) -> _Tools:
    """Both providers flush when the process ends."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import OTELResourceDetector, Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased

    ours = Resource({"service.name": "opendify", "service.version": __version__})
    resource = ours.merge(OTELResourceDetector().detect())
    rate = settings.sampling_rate
    sampler = None if rate is None else ParentBased(TraceIdRatioBased(rate))
    provider = TracerProvider(sampler=sampler, resource=resource)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=settings.trace_endpoint)))
    tracer = provider.get_tracer("opendify", __version__, schema_url=CONVENTIONS)
    if settings.metric_endpoint is None:
        return _Tools(tracer)
    return _Tools(tracer, *_open_metrics(settings.metric_endpoint, resource))


def _open_metrics(endpoint: str, resource: object) -> tuple["Histogram", "Histogram"]:
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
    from opentelemetry.sdk.resources import Resource

    assert isinstance(resource, Resource)  # noqa: S101 - Its type is imported only here.
    reader = PeriodicExportingMetricReader(OTLPMetricExporter(endpoint=endpoint))
    meter = MeterProvider([reader], resource=resource).get_meter("opendify", __version__, CONVENTIONS)
    durations = meter.create_histogram(
        "gen_ai.client.operation.duration",
        unit="s",
        explicit_bucket_boundaries_advisory=_DURATION_BUCKETS,
    )
    tokens = meter.create_histogram(
        "gen_ai.client.token.usage",
        unit="{token}",
        explicit_bucket_boundaries_advisory=_TOKEN_BUCKETS,
    )
    return durations, tokens


def _server_of(url: str) -> Mapping[str, str | int]:
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return {"server.address": parts.hostname, "server.port": port} if parts.hostname else {}


def _mark_failure(span: "Span", error: BaseException | None, *, is_ours: bool) -> None:
    from opentelemetry.trace import StatusCode

    if error is None:
        return
    span.set_attribute("error.type", _type_of(error))
    if is_ours:
        span.set_status(StatusCode.ERROR)


def _type_of(error: BaseException) -> str:
    return str(getattr(error, "code", None) or type(error).__name__)
