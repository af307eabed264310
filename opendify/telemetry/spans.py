"""Spans of requests and runs, each made as a whole when it has ended.

The SDK's own way, a span that is filled while it goes on, takes five times as long. All
else is the SDK's: what is kept, the ids, the queue and its export.
"""

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, Literal

from opendify import __version__

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
    from opentelemetry.trace import SpanContext

Attributes = Mapping[str, str | int | float]

CONVENTIONS: Final = "https://opentelemetry.io/schemas/1.44.0"


class OpenSpan:
    """One that goes on; `context` is how others know it, `parent` that of the one it is part of."""

    __slots__ = ("began_at", "context", "kind", "parent")

    def __init__(
        self, kind: Literal["server", "client"], context: "SpanContext", parent: "SpanContext | None"
    ):
        self.kind = kind
        self.context = context
        self.parent = parent
        self.began_at = time.time_ns()

    @property
    def is_kept(self) -> bool:
        """Whether it will be exported."""
        return self.context.trace_flags.sampled


class Spans:
    """Where spans begin, and where they go when they have ended."""

    def __init__(self, provider: "TracerProvider", processor: "SpanProcessor") -> None:
        """`provider` knows what is kept; `processor` gets what has ended, and is closed with the provider."""
        # Kept here: to import them anew in each request takes longer than what is done with them.
        from opentelemetry.sdk.trace import ReadableSpan
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

        # As the SDK shows that OTEL_SDK_DISABLED is set.
        self.are_off = isinstance(provider.get_tracer("opendify"), NoOpTracer)
        self._sampler = ALWAYS_OFF if self.are_off else provider.sampler
        self._ids = provider.id_generator
        self._resource = provider.resource
        self._processor = processor
        self._scope = InstrumentationScope("opendify", __version__, CONVENTIONS)
        self._kinds = {"server": SpanKind.SERVER, "client": SpanKind.CLIENT}
        self._statuses = {False: Status(StatusCode.UNSET), True: Status(StatusCode.ERROR)}
        self._kept, self._left_out = TraceFlags(TraceFlags.SAMPLED), TraceFlags(TraceFlags.DEFAULT)
        self._keep = Decision.RECORD_AND_SAMPLE
        self._span_of = get_current_span
        self._new_context, self._new_span = SpanContext, ReadableSpan

    def begin(self, name: str, context: "Context | None") -> OpenSpan:
        """The span of a request; `context` is its caller's."""
        before = self._span_of(context).get_span_context() if context else None
        parent = before if before and before.is_valid else None
        trace_id = parent.trace_id if parent else self._ids.generate_trace_id()
        sampled = self._sampler.should_sample(context, trace_id, name, self._kinds["server"])
        flags = self._kept if sampled.decision is self._keep else self._left_out
        span_id = self._ids.generate_span_id()
        return OpenSpan(
            "server", self._new_context(trace_id, span_id, False, flags, sampled.trace_state), parent
        )

    def begin_within(self, outer: OpenSpan) -> OpenSpan:
        """The span of a run, which is kept where that of its request is."""
        context, span_id = outer.context, self._ids.generate_span_id()
        made = self._new_context(context.trace_id, span_id, False, context.trace_flags, context.trace_state)
        return OpenSpan("client", made, context)

    def end(
        self, span: OpenSpan, name: str, attributes: Attributes, *, failed: bool, ended_at: int | None = None
    ) -> None:
        """It has ended, at `ended_at` (Unix nanoseconds) or now; `failed` by a fault of a server."""
        if not span.is_kept:
            return
        self._processor.on_end(
            self._new_span(
                name,
                context=span.context,
                parent=span.parent,
                resource=self._resource,
                attributes=attributes,
                kind=self._kinds[span.kind],
                status=self._statuses[failed],
                start_time=span.began_at,
                end_time=time.time_ns() if ended_at is None else ended_at,
                instrumentation_scope=self._scope,
            )
        )


def hashed_once(resource: "Resource") -> "Resource":
    """The same; its hash, for which the export asks with each span, is else a text of JSON every time."""
    from opentelemetry.sdk.resources import Resource

    kept = hash(resource)

    class HashedOnce(Resource):
        def __hash__(self) -> int:
            return kept

    return HashedOnce(resource.attributes, resource.schema_url)


def read_context(sent: Mapping[str, str]) -> "Context":
    """The caller's, from the headers of W3C's trace context."""
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    return TraceContextTextMapPropagator().extract(sent)
