"""Ended spans as bytes of OTLP: what the SDK makes of a shape is kept, and what differs is put beside it.

The SDK builds a message of each attribute of each span, which takes twenty times as long. In
Protocol Buffers' wire format the parts of a message may be put together as they are.

Source: https://protobuf.dev/programming-guides/encoding/
"""

import functools
import struct
from collections.abc import Sequence
from typing import Final

from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans as encode_as_the_sdk
from opentelemetry.exporter.otlp.proto.http import trace_exporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan

from opendify.telemetry.span_shapes import SpanShape
from opendify.telemetry.spans import EndedSpan, OpenSpan

_MOST_KEPT: Final = 4_096
_LENGTH_FOLLOWS, _EIGHT_BYTES = 2, 1


class Encoded:
    """Bytes in place of a message that the exporter would turn into them."""

    def __init__(self, encoded: bytes) -> None:
        self._encoded = encoded

    def SerializePartialToString(self) -> bytes:  # noqa: N802 - The library's name.
        """See `google.protobuf.message.Message`."""
        return self._encoded


def encode_by_shape() -> None:
    """From now on the SDK's exporter encodes our spans as here; where and how it sends them stays its own.

    It has no other place for that: it imports the function that it calls.
    """
    trace_exporter.encode_spans = encode_spans  # type: ignore[attr-defined, assignment]


def encode_spans(sdk_spans: Sequence[ReadableSpan | EndedSpan]) -> Encoded:
    """What the SDK makes of them, but for the order of fields and attributes, which means nothing."""
    ours = [span for span in sdk_spans if isinstance(span, EndedSpan)]
    if len(ours) == len(sdk_spans) and ours:
        return Encoded(_encoded(ours))
    theirs = [span.as_the_sdk_has_it() if isinstance(span, EndedSpan) else span for span in sdk_spans]
    return Encoded(encode_as_the_sdk(theirs).SerializeToString())


def _encoded(spans: Sequence[EndedSpan]) -> bytes:
    # Whose spans they are is the same for all.
    (of_resource,) = encode_as_the_sdk([spans[0].as_the_sdk_has_it()]).resource_spans
    (of_scope,) = of_resource.scope_spans
    of_scope.ClearField("spans")
    of_resource.ClearField("scope_spans")
    told: bytes = b"".join([of_scope.SerializeToString(), *map(_span, spans)])
    told = of_resource.SerializeToString() + _OF_SCOPE + _length(len(told)) + told
    return _OF_RESOURCE + _length(len(told)) + told


def _span(ended: EndedSpan) -> bytes:
    """One of a scope's spans."""
    span = ended.open
    parts = [
        _IDS_AND_TIMES(
            _TRACE_ID,
            span.trace_id.to_bytes(16),
            _SPAN_ID,
            span.span_id.to_bytes(8),
            _BEGAN_AT,
            span.began_at,
            _ENDED_AT,
            ended.ended_at,
        ),
        _of_shape(ended.shape, span.parent_is_remote),
    ]
    if span.parent_id:
        parts += _PARENT_ID, span.parent_id.to_bytes(8)
    if span.trace_state:
        parts.append(Span(trace_state=span.trace_state.to_header()).SerializeToString())
    parts += [_attribute(name, value) for name, value in ended.own.items()]
    told = b"".join(parts)
    return _SPAN + _length(len(told)) + told


@functools.lru_cache(maxsize=1_024)
def _of_shape(shape: SpanShape, parent_is_remote: bool) -> bytes:
    """The SDK's encoding of a span of this shape, without what each span has of its own."""
    any_span = OpenSpan(1, 1, is_kept=True, parent_id=1, parent_is_remote=parent_is_remote)
    encoded = encode_as_the_sdk([EndedSpan(shape, {}, any_span, 0, Resource({})).as_the_sdk_has_it()])
    span: Span = encoded.resource_spans[0].scope_spans[0].spans[0]
    for name in ("trace_id", "span_id", "parent_span_id", "start_time_unix_nano", "end_time_unix_nano"):
        span.ClearField(name)
    kept: bytes = span.SerializeToString()
    return kept


def _attribute(name: str, value: str | float) -> bytes:
    """One of a span's attributes."""
    if isinstance(value, int):
        return _number(name, value)
    if isinstance(value, float):
        return _before_value(name, 8) + _DOUBLE(value)
    encoded = value.encode()
    return _before_value(name, len(encoded), is_text=True) + encoded


@functools.lru_cache(maxsize=_MOST_KEPT)
def _number(name: str, value: int) -> bytes:
    return _as_attribute(KeyValue(key=name, value=AnyValue(int_value=value)))


@functools.lru_cache(maxsize=_MOST_KEPT)
def _before_value(name: str, length: int, *, is_text: bool = False) -> bytes:
    """Of an attribute all but the `length` bytes of its value, which come last."""
    value = AnyValue(string_value="-" * length) if is_text else AnyValue(double_value=1.0)
    return _as_attribute(KeyValue(key=name, value=value))[:-length]


def _as_attribute(pair: KeyValue) -> bytes:
    encoded: bytes = Span(attributes=[pair]).SerializeToString()
    return encoded


@functools.lru_cache(maxsize=_MOST_KEPT)
def _length(length: int) -> bytes:
    """Seven bits a byte, the lowest first; all but the last say that more come."""
    rest, lowest = divmod(length, 0x80)
    return bytes([lowest | 0x80]) + _length(rest) if rest else bytes([lowest])


def _tag(field_number: int, wire_type: int) -> bytes:
    return bytes([field_number << 3 | wire_type])


_OF_RESOURCE: Final = _tag(ExportTraceServiceRequest.RESOURCE_SPANS_FIELD_NUMBER, _LENGTH_FOLLOWS)
_OF_SCOPE: Final = _tag(ResourceSpans.SCOPE_SPANS_FIELD_NUMBER, _LENGTH_FOLLOWS)
_SPAN: Final = _tag(ScopeSpans.SPANS_FIELD_NUMBER, _LENGTH_FOLLOWS)
_TRACE_ID: Final = _tag(Span.TRACE_ID_FIELD_NUMBER, _LENGTH_FOLLOWS) + _length(16)
_SPAN_ID: Final = _tag(Span.SPAN_ID_FIELD_NUMBER, _LENGTH_FOLLOWS) + _length(8)
_PARENT_ID: Final = _tag(Span.PARENT_SPAN_ID_FIELD_NUMBER, _LENGTH_FOLLOWS) + _length(8)
_BEGAN_AT: Final = _tag(Span.START_TIME_UNIX_NANO_FIELD_NUMBER, _EIGHT_BYTES)
_ENDED_AT: Final = _tag(Span.END_TIME_UNIX_NANO_FIELD_NUMBER, _EIGHT_BYTES)
_IDS_AND_TIMES: Final = struct.Struct("<2s16s2s8scQcQ").pack
_DOUBLE: Final = struct.Struct("<d").pack
