"""Spans as a collector gets them: as the SDK would send them, for a fraction of the work."""

import sys
from collections.abc import Callable, Sequence
from types import FrameType
from typing import cast

import pytest
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans as encode_as_the_sdk
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from opendify.errors import DifyTimeout
from opendify.telemetry.observation import Observation
from opendify.telemetry.span_encoding import Encoded, encode_by_shape, encode_spans
from opendify.telemetry.spans import EndedSpan, Spans
from opendify.telemetry.tracing import RequestTrace, Tools
from tests.fakes.collector import collecting

CALLER = {"traceparent": f"00-{'ab' * 16}-{'cd' * 8}-01", "tracestate": "vendor=1,other=2"}


def ended_spans(requests: int = 1, sent: dict[str, str] | None = None) -> list[EndedSpan]:
    """Of requests that had one run each; every second one failed."""
    exported = InMemorySpanExporter()
    provider = TracerProvider(resource=Resource({"service.name": "tests"}))
    tools = Tools(Spans(provider, SimpleSpanProcessor(exported)))
    for number in range(requests):
        trace = RequestTrace(tools, tools.spans.begin("POST", sent or {}))
        seen = Observation(
            request_id=f"req_{number}", method="POST", route="/v1/x", trace=trace, model="bot", streams=True
        )
        run = seen.begin_run("bot", "chat", "https://dify.example.com/v1")
        seen.first_text_at, seen.is_whole, seen.prompt_tokens = seen.clock(), True, number
        if number % 2:
            seen.error = DifyTimeout("Dify did not answer in time")
            run.failed(seen.error)
        run.over(whole=not number % 2)
        seen.end()
    return cast("list[EndedSpan]", list(exported.get_finished_spans()))


@pytest.mark.parametrize("sent", [{}, CALLER], ids=["of our own", "of a caller"])
def test_a_collector_sees_what_the_sdk_would_send(sent: dict[str, str]) -> None:
    spans = ended_spans(4, sent)

    assert decoded(encode_spans(spans)) == decoded(encode_as_the_sdk(as_the_sdk_has_them(spans)))


def as_the_sdk_has_them(spans: Sequence[EndedSpan]) -> list[ReadableSpan]:
    return [span.as_the_sdk_has_it() for span in spans]


def decoded(encoded: Encoded | ExportTraceServiceRequest) -> ExportTraceServiceRequest:
    """With the attributes of each span sorted."""
    request: ExportTraceServiceRequest = ExportTraceServiceRequest.FromString(
        encoded.SerializePartialToString()
    )
    for span in request.resource_spans[0].scope_spans[0].spans:
        span.attributes.sort(key=lambda attribute: attribute.key)
    return request


def test_spans_of_others_are_left_to_the_sdk() -> None:
    exported = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exported))
    with provider.get_tracer("theirs").start_as_current_span("theirs"):
        pass
    ours, theirs = ended_spans(), exported.get_finished_spans()

    assert decoded(encode_spans([*ours, *theirs])) == decoded(
        encode_as_the_sdk([*as_the_sdk_has_them(ours), *theirs])
    )
    assert decoded(encode_spans(theirs)) == decoded(encode_as_the_sdk(theirs))


def test_the_exporter_needs_a_third_of_the_calls_at_most() -> None:
    spans = ended_spans(200)
    readable = as_the_sdk_has_them(spans)
    encode_by_shape()
    with collecting() as collector:
        exporter = OTLPSpanExporter(endpoint=f"{collector.url}/v1/traces")
        exporter.export(cast("Sequence[ReadableSpan]", spans[:1]))

        calls = calls_of(lambda: exporter.export(cast("Sequence[ReadableSpan]", spans)))

        exporter.shutdown()  # type: ignore[no-untyped-call] # The library's own.
    assert len(collector.spans) == 1 + len(spans)
    # Those of its HTTP client among them.
    assert calls < calls_of(lambda: encode_as_the_sdk(readable)) / 3


def calls_of(work: Callable[[], object]) -> int:
    calls = 0

    def note(_frame: FrameType, event: str, _argument: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(None)
    return calls
