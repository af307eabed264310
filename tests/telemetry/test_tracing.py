"""Traces, as far as no collector is needed."""

import json
import logging
import subprocess
import sys
from pathlib import Path
from typing import cast

import pytest
from opentelemetry.exporter.otlp.proto.http import trace_exporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

from opendify.settings import PROJECT_FOLDER
from opendify.settings.tracing import TracingSettings
from opendify.telemetry.genai_metrics import GenAIMetrics
from opendify.telemetry.observation import Observation
from opendify.telemetry.spans import EndedSpan, OpenSpan, Spans
from opendify.telemetry.tracing import RequestTrace, Tools, Tracing
from opendify.translate.dify_request import DifyRequest
from tests.fakes.otlp import Exporter


def test_a_share_of_nothing_keeps_only_what_callers_keep() -> None:
    tracing = Tracing(TracingSettings(sampling_rate=0.0, trace_endpoint="http://127.0.0.1:9/v1/traces"))

    ours = tracing.begin("POST", {})
    theirs = tracing.begin("POST", {"traceparent": f"00-{'ab' * 16}-{'cd' * 8}-01"})

    assert int(ours.begin_run().traceparent[-2:], 16) & 1 == 0
    run = theirs.begin_run()
    assert run.trace_id == "ab" * 16
    assert run.traceparent.endswith("-01")


def test_where_traces_go_stands_in_no_log(caplog: pytest.LogCaptureFixture) -> None:
    Tracing(TracingSettings(trace_endpoint="http://127.0.0.1:9/v1/traces?token=secret")).begin("GET", {})
    exporter = logging.getLogger(trace_exporter.__name__)
    refused = ConnectionError("Max retries exceeded with url: /v1/traces?token=secret")

    exporter.warning("Transient error %s encountered, retrying in %.2fs.", refused, 1.0)

    assert "Transient error ConnectionError encountered, retrying in 1.00s." in caplog.text
    assert "secret" not in caplog.text


@pytest.mark.parametrize(("method", "name"), [("POST", "POST /v1/files"), ("INVENTED", "HTTP /v1/files")])
def test_nobody_invents_names_of_spans(method: str, name: str) -> None:
    exported = InMemorySpanExporter()
    trace = RequestTrace(*_begun(exported, method))

    trace.end(Observation(method=method, route="/v1/files", status=200))

    (span,) = exported.get_finished_spans()
    assert cast("EndedSpan", span).shape.name == name


def _begun(exported: InMemorySpanExporter, method: str) -> tuple[Tools, OpenSpan]:
    provider = TracerProvider()
    processor = SimpleSpanProcessor(exported)
    tools = Tools(Spans(provider, processor))
    return tools, tools.spans.begin(method, {})


def test_where_the_sdk_is_off_no_span_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    exported = InMemorySpanExporter()
    tools, span = _begun(exported, "GET")

    RequestTrace(tools, span).end(Observation(method="GET", status=200))

    assert exported.get_finished_spans() == ()


def test_a_run_that_is_not_kept_is_measured_all_the_same() -> None:
    metrics = GenAIMetrics(Exporter(), Resource({}), {})
    spans = Spans(TracerProvider(sampler=ALWAYS_OFF), SimpleSpanProcessor(InMemorySpanExporter()))
    trace = RequestTrace(Tools(spans, metrics), spans.begin("GET", {}))
    seen = Observation(method="GET", trace=trace, model="support", is_whole=True, prompt_tokens=3)

    seen.begin_run("support", "chat", "https://dify.example.com/v1").over(whole=True)
    seen.end()

    (duration,) = metrics.durations.points(anew=False)
    (tokens,) = metrics.tokens.points(anew=False)
    assert (duration.attributes or {})["server.port"] == 443
    assert (tokens.count, tokens.sum) == (1, 3)
    assert (tokens.attributes or {})["gen_ai.token.type"] == "input"


def test_dify_is_told_of_the_trace_in_body_and_header() -> None:
    request = DifyRequest("/chat-messages", "/stop", {"query": "Hi"}).traced("ab" * 16, "00-…")

    assert request.body == {"query": "Hi", "trace_id": "ab" * 16}
    assert request.traceparent == "00-…"


def test_the_standard_variables_are_read_from_env_files_too(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text(
        'OTEL_SERVICE_NAME="of the file"\nOTEL_RESOURCE_ATTRIBUTES=a=b\nDIFY_API_BASE=http://dify/v1\n'
    )
    program = """
import json, sys
from pathlib import Path
from opendify.settings import load_environment, load_settings
from opendify.telemetry import tracing
of_process = {"ENABLE_OTEL": "true", "MODEL_CONFIG": '{"bot": "app-bot"}', "OTEL_RESOURCE_ATTRIBUTES": "a=c"}
environ = load_environment(Path(sys.argv[1]), of_process)
settings = load_settings(environ).tracing
tools = tracing.open_tools(settings)
print(json.dumps([dict(tools.spans.resource.attributes), repr(settings)]))
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(file)],
        cwd=PROJECT_FOLDER,
        capture_output=True,
        text=True,
        check=True,
    )

    told, shown = json.loads(done.stdout)
    assert (told["service.name"], told["a"]) == ("of the file", "c")
    assert "of the file" not in shown, "headers for the collector are among them"


def test_opentelemetry_is_not_even_loaded_where_nobody_asks_for_it() -> None:
    program = "import sys, opendify.app; print([name for name in sys.modules if 'opentelemetry' in name])"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=PROJECT_FOLDER, capture_output=True, text=True, check=True
    )

    assert done.stdout == "[]\n"
