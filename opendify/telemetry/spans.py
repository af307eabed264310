"""Spans of requests and runs, each made as a whole when it has ended.

The SDK's own way, a span that is filled while it goes on, takes five times as long. All
else is the SDK's: what is kept, the ids, the queue and its export. Imported only where
traces are on.
"""

import time
from collections.abc import Mapping
from typing import Final

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, Decision
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import (
    NoOpTracer,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    get_current_span,
)
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from opendify import __version__
from opendify.telemetry.span_shapes import CONVENTIONS, Attributes, SpanShape

_SCOPE: Final = InstrumentationScope("opendify", __version__, CONVENTIONS)
_KINDS: Final = {"server": SpanKind.SERVER, "client": SpanKind.CLIENT}
_STATUSES: Final = {False: Status(StatusCode.UNSET), True: Status(StatusCode.ERROR)}
_KEPT: Final = TraceFlags(TraceFlags.SAMPLED)
_LEFT_OUT: Final = TraceFlags(TraceFlags.DEFAULT)
_read_context: Final = TraceContextTextMapPropagator().extract


class OpenSpan:
    """One that goes on; `context` is how others know it, `parent` that of the one it is part of."""

    __slots__ = ("began_at", "context", "is_kept", "parent")

    def __init__(self, context: SpanContext, parent: SpanContext | None, *, is_kept: bool) -> None:
        self.context = context
        self.parent = parent
        self.is_kept = is_kept
        """Whether it will be exported."""
        self.began_at = time.time_ns()


class EndedSpan(ReadableSpan):
    """One of ours, which knows its shape, and its `own` attributes besides those of the shape."""

    def __init__(
        self, shape: SpanShape, own: Attributes, span: OpenSpan, ended_at: int, resource: Resource
    ) -> None:
        super().__init__(
            shape.name,
            context=span.context,
            parent=span.parent,
            resource=resource,
            attributes={**shape.attributes, **own},
            kind=_KINDS[shape.kind],
            status=_STATUSES[shape.failed],
            start_time=span.began_at,
            end_time=ended_at,
            instrumentation_scope=_SCOPE,
        )
        self.shape, self.own = shape, own
        self.open, self.ended_at = span, ended_at


class Spans:
    """Where spans begin, and where they go when they have ended."""

    def __init__(self, provider: TracerProvider, processor: SpanProcessor) -> None:
        """`provider` knows what is kept; `processor` gets what has ended, and is closed with the provider."""
        # As the SDK shows that OTEL_SDK_DISABLED is set.
        self.are_off = isinstance(provider.get_tracer("opendify"), NoOpTracer)
        self.resource: Final = provider.resource
        self._sampler = ALWAYS_OFF if self.are_off else provider.sampler
        self._ids = provider.id_generator
        self._processor = processor

    def begin(self, name: str, sent: Mapping[str, str]) -> OpenSpan:
        """The span of a request; `sent` are its headers of W3C's trace context, if it has any."""
        context = _read_context(sent) if sent else None
        before = get_current_span(context).get_span_context() if context else None
        parent = before if before and before.is_valid else None
        trace_id = parent.trace_id if parent else self._ids.generate_trace_id()
        sampled = self._sampler.should_sample(context, trace_id, name, SpanKind.SERVER)
        is_kept = sampled.decision is Decision.RECORD_AND_SAMPLE
        span_id, flags = self._ids.generate_span_id(), _KEPT if is_kept else _LEFT_OUT
        made = SpanContext(trace_id, span_id, False, flags, sampled.trace_state)
        return OpenSpan(made, parent, is_kept=is_kept)

    def begin_within(self, outer: OpenSpan) -> OpenSpan:
        """The span of a run, which is kept where that of its request is."""
        context, span_id = outer.context, self._ids.generate_span_id()
        made = SpanContext(context.trace_id, span_id, False, context.trace_flags, context.trace_state)
        return OpenSpan(made, context, is_kept=outer.is_kept)

    def end(self, span: OpenSpan, shape: SpanShape, own: Attributes, ended_at: int | None = None) -> None:
        """It has ended, at `ended_at` (Unix nanoseconds) or now."""
        if span.is_kept:
            at = time.time_ns() if ended_at is None else ended_at
            self._processor.on_end(EndedSpan(shape, own, span, at, self.resource))


def hashed_once(resource: Resource) -> Resource:
    """The same; its hash, for which the export asks with each span, is else a text of JSON every time."""
    kept = hash(resource)

    class HashedOnce(Resource):
        def __hash__(self) -> int:
            return kept

    return HashedOnce(resource.attributes, resource.schema_url)
