"""OpenTelemetry's view: who is whose child, what Dify is told, and nothing lost at the end."""

import httpx
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from tests.fakes.collector import attributes, collecting
from tests.fakes.live_dify import live_dify
from tests.resilience.server import CHAT_PATH, chat_shape, running_server

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


def test_a_run_is_the_child_of_its_request_and_that_of_its_caller() -> None:
    with live_dify() as dify, collecting() as collector:
        told = {
            "ENABLE_OTEL": "true",
            "OTLP_TRACE_ENDPOINT": f"{collector.url}/v1/traces",
            "OTLP_METRIC_ENDPOINT": f"{collector.url}/v1/metrics",
        }
        with running_server(dify, **told) as server:
            traced = {"traceparent": f"00-{TRACE}-{PARENT}-01"}
            for streams in (True, False):
                shape = chat_shape("canary-prompt", streams=streams)
                assert httpx.post(server.origin + CHAT_PATH, json=shape, headers=traced).status_code == 200
            refused = chat_shape("canary-prompt", streams=False) | {"model": "nobody"}
            assert httpx.post(server.origin + CHAT_PATH, json=refused).status_code == 404
            # What was not sent yet is sent when the process ends.
            server.program.stop()

        spans = {span.span_id: span for span in collector.spans}
        requests = [span for span in spans.values() if span.name == f"POST {CHAT_PATH}"]
        runs = [span for span in spans.values() if span.kind == Span.SPAN_KIND_CLIENT]
        of_caller = [span for span in requests if span.parent_span_id.hex() == PARENT]

        assert len(requests) == 3
        assert {span.kind for span in requests} == {Span.SPAN_KIND_SERVER}
        assert len(of_caller) == len(runs) == 2
        assert {run.parent_span_id for run in runs} == {span.span_id for span in of_caller}
        assert {span.trace_id.hex() for span in (*of_caller, *runs)} == {TRACE}
        for run in runs:
            request = spans[run.parent_span_id]
            assert request.start_time_unix_nano <= run.start_time_unix_nano
            assert run.start_time_unix_nano < run.end_time_unix_nano <= request.end_time_unix_nano + 5_000_000
            facts = attributes(run)
            assert run.name == "chat bot"
            assert facts["gen_ai.operation.name"] == "chat"
            assert facts["gen_ai.provider.name"] == "dify"
            assert facts["gen_ai.request.model"] == facts["gen_ai.response.model"] == "bot"
            assert facts["server.address"] == "127.0.0.1"
        (failed,) = [span for span in requests if span not in of_caller]
        assert attributes(failed)["error.type"] == "model_not_found"
        assert failed.status.code == Status.STATUS_CODE_UNSET, "the caller's mistake is no error of a server"

        # Dify can join the trace.
        for asked in dify.runs:
            assert asked.body["trace_id"] == TRACE
        names = {metric.name for metric in collector.metrics}
        assert "gen_ai.client.operation.duration" in names
        assert b"canary-prompt" not in collector.raw
