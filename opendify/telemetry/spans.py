"""Spans of requests and runs, each made as a whole when it has ended.

The SDK's own way, a span that is filled while it goes on, takes many times as long. All
else is the SDK's: what is kept, the ids, the queue and its export. Imported only where
traces are on.
"""

import time
from collections.abc import Mapping
from typing import Final, cast

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, DEFAULT_ON, Decision
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import (
    NoOpTracer,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    TraceState,
    get_current_span,
)
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from opendify import __version__
from opendify.telemetry.span_shapes import CONVENTIONS, Attributes, SpanShape

_SCOPE: Final = InstrumentationScope("opendify", __version__, CONVENTIONS)
_KINDS: Final = {"server": SpanKind.SERVER, "client": SpanKind.CLIENT}
_KEPT: Final = TraceFlags(TraceFlags.SAMPLED)
_read_context: Final = TraceContextTextMapPropagator().extract


class OpenSpan:
    """One that goes on; `parent_id` is 0 where it is part of none."""

    __slots__ = (
        "began_at",
        "is_kept",
        "parent_id",
        "parent_is_remote",
        "span_id",
        "trace_id",
        "trace_state",
    )

    def __init__(
        self,
        trace_id: int,
        span_id: int,
        *,
        is_kept: bool,
        parent_id: int = 0,
        parent_is_remote: bool = False,
        trace_state: TraceState | None = None,
    ) -> None:
        self.trace_id = trace_id
        self.span_id = span_id
        self.is_kept = is_kept
        """Whether it will be exported."""
        self.parent_id = parent_id
        self.parent_is_remote = parent_is_remote
        self.trace_state = trace_state
        self.began_at = time.time_ns()


class EndedSpan:
    """One that waits for its export; `own` are the attributes that it has besides those of its shape."""

    __slots__ = ("ended_at", "open", "own", "resource", "shape")

    context: Final = SpanContext(1, 1, is_remote=False, trace_flags=_KEPT)
    """What the SDK's processors look at: every one of these is kept."""

    def __init__(
        self, shape: SpanShape, own: Attributes, span: OpenSpan, ended_at: int, resource: Resource
    ) -> None:
        self.shape = shape
        self.own = own
        self.open = span
        self.ended_at = ended_at
        self.resource = resource

    def as_the_sdk_has_it(self) -> ReadableSpan:
        """The same, as whoever does not know of shapes can read it."""
        span, shape = self.open, self.shape
        parent = SpanContext(span.trace_id, span.parent_id, span.parent_is_remote)
        return ReadableSpan(
            shape.name,
            context=SpanContext(span.trace_id, span.span_id, False, _KEPT, span.trace_state),
            parent=parent if span.parent_id else None,
            resource=self.resource,
            attributes={**shape.attributes, **self.own},
            kind=_KINDS[shape.kind],
            status=Status(StatusCode.ERROR if shape.failed else StatusCode.UNSET),
            start_time=span.began_at,
            end_time=self.ended_at,
            instrumentation_scope=_SCOPE,
        )


class Spans:
    """Where spans begin, and where they go when they have ended."""

    def __init__(self, provider: TracerProvider, processor: SpanProcessor) -> None:
        """`provider` knows what is kept; `processor` gets what has ended, and is closed with the provider."""
        # As the SDK shows that OTEL_SDK_DISABLED is set.
        self.are_off = isinstance(provider.get_tracer("opendify"), NoOpTracer)
        self.resource: Final = provider.resource
        self._sampler = ALWAYS_OFF if self.are_off else provider.sampler
        self._keeps_all_of_ours = self._sampler is DEFAULT_ON
        self._ids = provider.id_generator
        self._processor = processor

    def begin(self, name: str, sent: Mapping[str, str]) -> OpenSpan:
        """The span of a request; `sent` are its headers of W3C's trace context, if it has any."""
        if self._keeps_all_of_ours and not sent:
            return OpenSpan(self._ids.generate_trace_id(), self._ids.generate_span_id(), is_kept=True)
        context = _read_context(sent)
        parent = get_current_span(context).get_span_context()
        trace_id = parent.trace_id if parent.is_valid else self._ids.generate_trace_id()
        sampled = self._sampler.should_sample(context, trace_id, name, SpanKind.SERVER)
        return OpenSpan(
            trace_id,
            self._ids.generate_span_id(),
            is_kept=sampled.decision is Decision.RECORD_AND_SAMPLE,
            parent_id=parent.span_id if parent.is_valid else 0,
            parent_is_remote=parent.is_remote,
            trace_state=sampled.trace_state,
        )

    def begin_within(self, outer: OpenSpan) -> OpenSpan:
        """The span of a run, which is kept where that of its request is."""
        return OpenSpan(
            outer.trace_id,
            self._ids.generate_span_id(),
            is_kept=outer.is_kept,
            parent_id=outer.span_id,
            trace_state=outer.trace_state,
        )

    def end(self, span: OpenSpan, shape: SpanShape, own: Attributes, ended_at: int | None = None) -> None:
        """It has ended, at `ended_at` (Unix nanoseconds) or now."""
        if span.is_kept:
            at = time.time_ns() if ended_at is None else ended_at
            ended = EndedSpan(shape, own, span, at, self.resource)
            # The processor hands it on, to an exporter that knows it.
            self._processor.on_end(cast("ReadableSpan", ended))
