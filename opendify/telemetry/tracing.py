"""Traces and GenAI metrics over OTLP, where `ENABLE_OTEL` asks for them: a span a request, and one a run.

Spans hold ids, counts and times; never contents, which the conventions leave to choice.
"""

import importlib.util
import logging
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from opendify import __version__
from opendify.settings import SettingsError
from opendify.settings.loading import set_variables
from opendify.settings.tracing import TracingSettings
from opendify.telemetry.observation import Observation, RunRecord
from opendify.telemetry.span_shapes import (
    Attributes,
    RunShape,
    known_method,
    request_shape,
    run_shape,
    type_of,
)

# The library is loaded only where it is used.
if TYPE_CHECKING:
    from opentelemetry.sdk.resources import Resource

    from opendify.telemetry.genai_metrics import GenAIMetrics
    from opendify.telemetry.spans import OpenSpan, Spans

_NANOSECONDS: Final = 1_000_000_000
CONTEXT_HEADERS: Final = ("traceparent", "tracestate")
"""By which W3C's trace context comes with a request."""


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

    def begin(self, method: str, sent: Mapping[str, str]) -> "RequestTrace":
        """A request came; `sent` are those of `CONTEXT_HEADERS` that it has, from a caller that is traced."""
        tools = self._tools or self._open()
        return RequestTrace(tools, tools.spans.begin(known_method(method), sent))

    def _open(self) -> "Tools":
        with self._lock:
            if self._tools is None:
                self._tools = open_tools(self._settings)
            return self._tools


class RequestTrace:
    """The span of a request, and those of its runs."""

    def __init__(self, tools: "Tools", span: "OpenSpan") -> None:
        self._tools = tools
        self._span = span
        self._runs: list[OpenSpan] = []
        # The request's own times are of a clock that knows no date.
        self._offset = time.time() - time.monotonic()

    def begin_run(self) -> "RunTrace":
        """A run at Dify is about to begin: the next of the request's observation."""
        span = self._tools.spans.begin_within(self._span)
        self._runs.append(span)
        return RunTrace(span)

    def end(self, seen: Observation) -> None:
        """The request ended."""
        for run, span in zip(seen.runs, self._runs, strict=True):
            self._end_run(span, run, seen)
        if not self._span.is_kept:
            return
        error, is_ours = seen.error, seen.status >= 500 or seen.streams
        shape = request_shape(
            seen.method,
            seen.route,
            seen.status,
            seen.outcome,
            type_of(error) if error else None,
            failed=is_ours and error is not None,
        )
        self._tools.spans.end(self._span, shape, {"opendify.request_id": seen.request_id})

    def _end_run(self, span: "OpenSpan", run: RunRecord, seen: Observation) -> None:
        error = run.error
        shape = run_shape(run.mode, seen.model, run.model, run.server, type_of(error) if error else None)
        ended_at = run.clock() if run.ended_at is None else run.ended_at
        is_last = run is seen.runs[-1]
        if span.is_kept:
            own = _answer_attributes(run, seen) if is_last else {}
            self._tools.spans.end(span, shape, own, int((ended_at + self._offset) * _NANOSECONDS))
        if metrics := self._tools.metrics:
            metrics.durations.note(ended_at - run.began_at, shape.duration)
            if is_last and seen.is_whole:
                _note_tokens(metrics, shape, seen)


class RunTrace:
    """The span of a run, as Dify is told of it; see `observation.RunTrace`."""

    __slots__ = ("trace_id", "traceparent")

    def __init__(self, span: "OpenSpan") -> None:
        self.trace_id = f"{span.trace_id:032x}"
        self.traceparent = f"00-{self.trace_id}-{span.span_id:016x}-{'01' if span.is_kept else '00'}"


@dataclass(frozen=True, slots=True)
class Tools:
    """Where one process leaves its spans, and its numbers where these are exported too."""

    spans: "Spans"
    metrics: "GenAIMetrics | None" = None


def open_tools(settings: TracingSettings) -> Tools:
    """Both flush when the process ends."""
    # First, since some of the library's modules read their settings when they are imported.
    set_variables(settings.standard)
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import OTELResourceDetector, Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.sdk.trace.sampling import DEFAULT_ON, ParentBased, TraceIdRatioBased

    from opendify.telemetry.span_encoding import encode_by_shape
    from opendify.telemetry.spans import Spans

    _hide_urls()
    encode_by_shape()
    ours = Resource({"service.name": "opendify", "service.version": __version__})
    resource = ours.merge(OTELResourceDetector().detect())
    rate = settings.sampling_rate
    sampler = None if rate is None else DEFAULT_ON if rate == 1 else ParentBased(TraceIdRatioBased(rate))
    provider = TracerProvider(sampler=sampler, resource=resource)
    processor = BatchSpanProcessor(OTLPSpanExporter(endpoint=settings.trace_endpoint))
    provider.add_span_processor(processor)
    spans = Spans(provider, processor)
    if settings.metric_endpoint is None or spans.are_off:
        return Tools(spans)
    return Tools(spans, _open_metrics(settings.metric_endpoint, resource, settings.standard))


def _open_metrics(endpoint: str, resource: "Resource", standard: Mapping[str, str]) -> "GenAIMetrics":
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter

    from opendify.telemetry.genai_metrics import GenAIMetrics

    metrics = GenAIMetrics(OTLPMetricExporter(endpoint=endpoint), resource, standard)
    metrics.begin()
    return metrics


def _answer_attributes(run: RunRecord, seen: Observation) -> Attributes:
    """What the last run's span tells of the answer."""
    told: dict[str, str | int | float] = {}
    if seen.is_whole:
        told["gen_ai.usage.input_tokens"] = seen.prompt_tokens
        told["gen_ai.usage.output_tokens"] = seen.completion_tokens
    if seen.first_text_at is not None:
        told["gen_ai.response.time_to_first_chunk"] = seen.first_text_at - run.began_at
    return told


def _note_tokens(metrics: "GenAIMetrics", shape: RunShape, seen: Observation) -> None:
    if seen.prompt_tokens:
        metrics.tokens.note(seen.prompt_tokens, shape.input_tokens)
    if seen.completion_tokens:
        metrics.tokens.note(seen.completion_tokens, shape.output_tokens)


def _hide_urls() -> None:
    for kind in ("trace", "metric"):
        logging.getLogger(f"opentelemetry.exporter.otlp.proto.http.{kind}_exporter").addFilter(_hide_url)


def _hide_url(record: logging.LogRecord) -> bool:
    """The exporters log their failures as `requests` words them: with the URL, which may hold a secret."""
    if isinstance(record.args, tuple):
        record.args = tuple(
            type_of(each) if isinstance(each, BaseException) else each for each in record.args
        )
    return True
