"""Ended spans in OTLP: what the SDK makes of a shape is kept, and what differs is written into a copy of it.

The SDK builds a message of each attribute of each span, which takes ten times as long.
"""

import functools
from collections.abc import Sequence
from typing import Final

from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans as encode_as_the_sdk
from opentelemetry.exporter.otlp.proto.http import trace_exporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import ScopeSpans, Span
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanContext

from opendify.telemetry.span_shapes import SpanShape
from opendify.telemetry.spans import EndedSpan, OpenSpan

_FIELDS: Final = {str: "string_value", int: "int_value", float: "double_value"}
_VARYING: Final = ("trace_id", "span_id", "parent_span_id", "start_time_unix_nano", "end_time_unix_nano")


def encode_by_shape() -> None:
    """From now on the SDK's exporter encodes our spans as here; where and how it sends them stays its own.

    It has no other place for that; one that knows of no such function goes on in its own way.
    """
    trace_exporter.encode_spans = encode_spans  # type: ignore[attr-defined] # It imports it.


def encode_spans(sdk_spans: Sequence[ReadableSpan]) -> ExportTraceServiceRequest:
    """What the SDK makes of `sdk_spans`, but for the order of attributes, which means nothing."""
    ours = [span for span in sdk_spans if isinstance(span, EndedSpan)]
    if not ours or len(ours) < len(sdk_spans):
        return encode_as_the_sdk(sdk_spans)
    # Whose spans they are is the same for all.
    request = encode_as_the_sdk(ours[:1])
    told = request.resource_spans[0].scope_spans[0]
    del told.spans[:]
    for span in ours:
        _add(told, span)
    return request


def _add(told: ScopeSpans, span: EndedSpan) -> None:
    context, parent = span.open.context, span.open.parent
    trace_id, span_id, _, _, trace_state, _ = context
    encoded = told.spans.add()
    encoded.CopyFrom(_template(span.shape, parent is not None and parent.is_remote))
    encoded.trace_id = trace_id.to_bytes(16)
    encoded.span_id = span_id.to_bytes(8)
    encoded.start_time_unix_nano = span.open.began_at
    encoded.end_time_unix_nano = span.ended_at
    if parent:
        encoded.parent_span_id = parent.span_id.to_bytes(8)
    if trace_state:
        encoded.trace_state = ",".join([f"{key}={value}" for key, value in trace_state.items()])
    for name, value in span.own.items():
        setattr(encoded.attributes.add(key=name).value, _FIELDS[type(value)], value)


@functools.lru_cache(maxsize=1_024)
def _template(shape: SpanShape, parent_is_remote: bool) -> Span:
    """The SDK's encoding of a span of this shape, without what each span has of its own."""
    of_any = SpanContext(1, 1, is_remote=parent_is_remote)
    span = EndedSpan(shape, {}, OpenSpan(of_any, of_any, is_kept=True), 0, Resource({}))
    template: Span = encode_as_the_sdk([span]).resource_spans[0].scope_spans[0].spans[0]
    for name in _VARYING:
        template.ClearField(name)
    return template
