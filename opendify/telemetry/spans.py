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
        from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
        from opentelemetry.sdk.util.instrumentation import InstrumentationScope
        from opentelemetry.trace import NoOpTracer, SpanKind

        # As the SDK shows that OTEL_SDK_DISABLED is set.
        self.are_off = isinstance(provider.get_tracer("opendify"), NoOpTracer)
        self._sampler = ALWAYS_OFF if self.are_off else provider.sampler
        self._ids = provider.id_generator
        self._resource = provider.resource
        self._processor = processor
        self._scope = InstrumentationScope("opendify", __version__, CONVENTIONS)
        self._kinds = {"server": SpanKind.SERVER, "client": SpanKind.CLIENT}

    def begin(self, name: str, context: "Context | None") -> OpenSpan:
        """The span of a request; `context` is its caller's."""
        from opentelemetry.sdk.trace.sampling import Decision
        from opentelemetry.trace import SpanContext, TraceFlags, get_current_span

        before = get_current_span(context).get_span_context() if context else None
        parent = before if before and before.is_valid else None
        trace_id = parent.trace_id if parent else self._ids.generate_trace_id()
        sampled = self._sampler.should_sample(context, trace_id, name, self._kinds["server"])
        is_kept = sampled.decision is Decision.RECORD_AND_SAMPLE
        flags = TraceFlags(TraceFlags.SAMPLED if is_kept else TraceFlags.DEFAULT)
        span_id = self._ids.generate_span_id()
        made = SpanContext(
            trace_id, span_id, is_remote=False, trace_flags=flags, trace_state=sampled.trace_state
        )
        return OpenSpan("server", made, parent)

    def begin_within(self, outer: OpenSpan) -> OpenSpan:
        """The span of a run, which is kept where that of its request is."""
        from opentelemetry.trace import SpanContext

        context, span_id = outer.context, self._ids.generate_span_id()
        made = SpanContext(context.trace_id, span_id, False, context.trace_flags, context.trace_state)
        return OpenSpan("client", made, context)

    def end(
        self, span: OpenSpan, name: str, attributes: Attributes, *, failed: bool, ended_at: int | None = None
    ) -> None:
        """It has ended, at `ended_at` (Unix nanoseconds) or now; `failed` by a fault of a server."""
        from opentelemetry.sdk.trace import ReadableSpan
        from opentelemetry.trace import Status, StatusCode

        if not span.is_kept:
            return
        self._processor.on_end(
            ReadableSpan(
                name,
                context=span.context,
                parent=span.parent,
                resource=self._resource,
                attributes=attributes,
                kind=self._kinds[span.kind],
                status=Status(StatusCode.ERROR if failed else StatusCode.UNSET),
                start_time=span.began_at,
                end_time=time.time_ns() if ended_at is None else ended_at,
                instrumentation_scope=self._scope,
            )
        )


def read_context(sent: Mapping[str, str]) -> "Context":
    """The caller's, from the headers of W3C's trace context."""
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    return TraceContextTextMapPropagator().extract(sent)
