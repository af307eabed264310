"""Traces and GenAI metrics over OTLP, where `ENABLE_OTEL` asks for them: a span a request, and one a run.

The names are those of one release of OpenTelemetry's conventions, which change often. Spans
hold ids, counts and times; never contents, which the conventions leave to choice.

Source: https://opentelemetry.io/docs/specs/semconv/gen-ai/
"""

import functools
import importlib.util
import logging
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from opendify import __version__
from opendify.records import Headers
from opendify.settings import SettingsError
from opendify.settings.loading import set_variables
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
_CONTEXT: Final = ("traceparent", "tracestate")
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"})
_OTHER_METHOD: Final = "_OTHER"

_Attributes = Mapping[str, str | int | float]


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
        # First, since some of the library's modules read their settings when they are imported.
        tools = self._tools or self._open()
        from opentelemetry.trace import SpanKind
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        sent = {name: value for name in _CONTEXT if (value := headers.get(name))}
        context = TraceContextTextMapPropagator().extract(sent) if sent else None
        span = tools.tracer.start_span(_known(method), context=context, kind=SpanKind.SERVER)
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
        span, method = self._span, _known(seen.method)
        if not span.is_recording():
            return
        span.update_name(f"{'HTTP' if method == _OTHER_METHOD else method} {seen.route}")
        span.set_attributes(
            {
                "http.request.method": method,
                "http.route": seen.route,
                "http.response.status_code": seen.status,
                "opendify.request_id": seen.request_id,
                "opendify.outcome": seen.outcome,
            }
        )
        _mark_failure(span, seen.error, is_ours=seen.status >= 500 or seen.streams)
        span.end()

    def _end_run(self, span: "Span", run: "RunRecord", seen: "Observation") -> None:
        shared = _shared_attributes(run.mode, seen.model, run.model, run.server)
        is_last = run is seen.runs[-1]
        ended_at = run.clock() if run.ended_at is None else run.ended_at
        if span.is_recording():
            span.update_name(f"{shared['gen_ai.operation.name']} {run.model}")
            span.set_attributes({**shared, **(_answer_attributes(run, seen) if is_last else {})})
            _mark_failure(span, run.error, is_ours=True)
            span.end(end_time=int((ended_at + self._offset) * _NANOSECONDS))
        if is_last and seen.is_whole:
            self._tools.note_tokens(seen.prompt_tokens, shared, "input")
            self._tools.note_tokens(seen.completion_tokens, shared, "output")
        self._tools.note_duration(ended_at - run.began_at, shared, run.error)


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

    def note_duration(self, seconds: float, shared: _Attributes, error: BaseException | None) -> None:
        if self.durations:
            self.durations.record(seconds, {**shared, "error.type": _type_of(error)} if error else shared)

    def note_tokens(self, count: int, shared: _Attributes, type_: str) -> None:
        if self.tokens and count:
            self.tokens.record(count, {**shared, "gen_ai.token.type": type_})


def _open_tools(settings: TracingSettings) -> _Tools:
    """Both providers flush when the process ends."""
    set_variables(settings.standard)
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import OTELResourceDetector, Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased

    _hide_urls()
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


@functools.lru_cache(maxsize=1_024)
def _shared_attributes(mode: str, asked: str, answering: str, server: str) -> _Attributes:
    """What a run's span and its numbers have in common."""
    return {
        "gen_ai.operation.name": _OPERATIONS.get(mode, "chat"),
        "gen_ai.provider.name": _PROVIDER,
        "gen_ai.request.model": asked,
        "gen_ai.response.model": answering,
        **_server_of(server),
    }


def _answer_attributes(run: "RunRecord", seen: "Observation") -> _Attributes:
    """What the last run's span tells of the answer."""
    told: dict[str, str | int | float] = {}
    if seen.is_whole:
        told["gen_ai.usage.input_tokens"] = seen.prompt_tokens
        told["gen_ai.usage.output_tokens"] = seen.completion_tokens
    if seen.first_text_at is not None:
        told["gen_ai.response.time_to_first_chunk"] = seen.first_text_at - run.began_at
    return told


def _known(method: str) -> str:
    """A method as the conventions name it: clients can invent any number of others."""
    return method if method in _METHODS else _OTHER_METHOD


def _hide_urls() -> None:
    for kind in ("trace", "metric"):
        logging.getLogger(f"opentelemetry.exporter.otlp.proto.http.{kind}_exporter").addFilter(_hide_url)


def _hide_url(record: logging.LogRecord) -> bool:
    """The exporters log their failures as `requests` words them: with the URL, which may hold a secret."""
    if isinstance(record.args, tuple):
        record.args = tuple(
            _type_of(each) if isinstance(each, BaseException) else each for each in record.args
        )
    return True


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
