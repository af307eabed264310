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
from opendify.telemetry.genai_metrics import GenAIMetrics
from opendify.telemetry.spans import Attributes, OpenSpan, Spans, hashed_once, read_context

if TYPE_CHECKING:
    from opentelemetry.sdk.resources import Resource

    from opendify.telemetry.observation import Observation, RunRecord

_PROVIDER: Final = "dify"
# A mode that is not here answers in a chat.
_OPERATIONS: Final[Mapping[str, str]] = {
    "completion": "text_completion",
    "workflow": "invoke_workflow",
    "agent-chat": "invoke_agent",
    "agent": "invoke_agent",
}
_NANOSECONDS: Final = 1_000_000_000
_CONTEXT: Final = ("traceparent", "tracestate")
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"})
_OTHER_METHOD: Final = "_OTHER"


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
        self._tools: Tools | None = None

    def begin(self, method: str, headers: Headers) -> "RequestTrace":
        """A request came, maybe from a caller that is traced itself."""
        # First, since some of the library's modules read their settings when they are imported.
        tools = self._tools or self._open()
        sent = {name: value for name in _CONTEXT if (value := headers.get(name))}
        return RequestTrace(tools, tools.spans.begin(_known(method), read_context(sent) if sent else None))

    def _open(self) -> "Tools":
        with self._lock:
            if self._tools is None:
                self._tools = open_tools(self._settings)
            return self._tools


class RequestTrace:
    """The span of a request, and those of its runs."""

    def __init__(self, tools: "Tools", span: OpenSpan) -> None:
        self._tools = tools
        self._span = span
        # The request's own times are of a clock that knows no date.
        self._offset = time.time() - time.monotonic()

    def begin_run(self) -> "RunTrace":
        """A run at Dify is about to begin."""
        return RunTrace(self._tools.spans.begin_within(self._span))

    def end(self, seen: "Observation") -> None:
        """The request ended."""
        for run in seen.runs:
            if run.trace:
                self._end_run(run.trace.span, run, seen)
        if not self._span.is_kept:
            return
        method = _known(seen.method)
        attributes = {
            "http.request.method": method,
            "http.route": seen.route,
            "http.response.status_code": seen.status,
            "opendify.request_id": seen.request_id,
            "opendify.outcome": seen.outcome,
            **_failure(seen.error),
        }
        name = f"{'HTTP' if method == _OTHER_METHOD else method} {seen.route}"
        is_ours = seen.status >= 500 or seen.streams
        self._tools.spans.end(self._span, name, attributes, failed=is_ours and seen.error is not None)

    def _end_run(self, span: OpenSpan, run: "RunRecord", seen: "Observation") -> None:
        shared = _shared_attributes(run.mode, seen.model, run.model, run.server)
        is_last = run is seen.runs[-1]
        ended_at = run.clock() if run.ended_at is None else run.ended_at
        if span.is_kept:
            name = f"{shared['gen_ai.operation.name']} {run.model}"
            attributes = {
                **shared,
                **(_answer_attributes(run, seen) if is_last else {}),
                **_failure(run.error),
            }
            unix = int((ended_at + self._offset) * _NANOSECONDS)
            self._tools.spans.end(span, name, attributes, failed=run.error is not None, ended_at=unix)
        if self._tools.metrics:
            self._note(self._tools.metrics, run, seen, ended_at - run.began_at, shared)

    def _note(
        self, metrics: GenAIMetrics, run: "RunRecord", seen: "Observation", seconds: float, shared: Attributes
    ) -> None:
        metrics.durations.note(seconds, {**shared, **_failure(run.error)})
        if not (run is seen.runs[-1] and seen.is_whole):
            return
        for kind, count in (("input", seen.prompt_tokens), ("output", seen.completion_tokens)):
            if count:
                metrics.tokens.note(count, {**shared, "gen_ai.token.type": kind})


@dataclass(frozen=True, slots=True)
class RunTrace:
    """The span of a run, and how Dify is told of it."""

    span: OpenSpan

    @property
    def trace_id(self) -> str:
        """32 hexadecimal digits, as Dify's `trace_id` takes them."""
        return f"{self.span.context.trace_id:032x}"

    @property
    def traceparent(self) -> str:
        """The W3C header that makes Dify's own spans children of this one."""
        context = self.span.context
        return f"00-{self.trace_id}-{context.span_id:016x}-{context.trace_flags:02x}"


@dataclass(frozen=True, slots=True)
class Tools:
    """Where one process leaves its spans, and its numbers where these are exported too."""

    spans: Spans
    metrics: GenAIMetrics | None = None


def open_tools(settings: TracingSettings) -> Tools:
    """Both flush when the process ends."""
    set_variables(settings.standard)
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import OTELResourceDetector, Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased

    _hide_urls()
    ours = Resource({"service.name": "opendify", "service.version": __version__})
    resource = hashed_once(ours.merge(OTELResourceDetector().detect()))
    rate = settings.sampling_rate
    sampler = None if rate is None else ParentBased(TraceIdRatioBased(rate))
    provider = TracerProvider(sampler=sampler, resource=resource)
    processor = BatchSpanProcessor(OTLPSpanExporter(endpoint=settings.trace_endpoint))
    provider.add_span_processor(processor)
    spans = Spans(provider, processor)
    if settings.metric_endpoint is None or spans.are_off:
        return Tools(spans)
    return Tools(spans, _open_metrics(settings.metric_endpoint, resource, settings.standard))


def _open_metrics(endpoint: str, resource: "Resource", standard: Mapping[str, str]) -> GenAIMetrics:
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter

    metrics = GenAIMetrics(OTLPMetricExporter(endpoint=endpoint), resource, standard)
    metrics.begin()
    return metrics


@functools.lru_cache(maxsize=1_024)
def _shared_attributes(mode: str, asked: str, answering: str, server: str) -> Attributes:
    """What a run's span and its numbers have in common."""
    return {
        "gen_ai.operation.name": _OPERATIONS.get(mode, "chat"),
        "gen_ai.provider.name": _PROVIDER,
        "gen_ai.request.model": asked,
        "gen_ai.response.model": answering,
        **_server_of(server),
    }


def _answer_attributes(run: "RunRecord", seen: "Observation") -> Attributes:
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


def _failure(error: BaseException | None) -> Attributes:
    return {"error.type": _type_of(error)} if error else {}


def _type_of(error: BaseException) -> str:
    return str(getattr(error, "code", None) or type(error).__name__)
