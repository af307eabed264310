"""Traces, as far as no collector is needed."""

import subprocess
import sys

from opendify.settings import PROJECT_FOLDER
from opendify.settings.tracing import TracingSettings
from opendify.telemetry.tracing import Tracing
from opendify.translate.dify_request import DifyRequest


def test_a_share_of_nothing_keeps_only_what_callers_keep() -> None:
    tracing = Tracing(TracingSettings(sampling_rate=0.0, trace_endpoint="http://127.0.0.1:9/v1/traces"))

    ours = tracing.begin("POST", {})
    theirs = tracing.begin("POST", {"traceparent": f"00-{'ab' * 16}-{'cd' * 8}-01"})

    assert int(ours.begin_run().traceparent[-2:], 16) & 1 == 0
    run = theirs.begin_run()
    assert run.trace_id == "ab" * 16
    assert run.traceparent.endswith("-01")


def test_dify_is_told_of_the_trace_in_body_and_header() -> None:
    request = DifyRequest("/chat-messages", "/stop", {"query": "Hi"}).traced("ab" * 16, "00-…")

    assert request.body == {"query": "Hi", "trace_id": "ab" * 16}
    assert request.traceparent == "00-…"


def test_opentelemetry_is_not_even_loaded_where_nobody_asks_for_it() -> None:
    program = "import sys, opendify.app; print([name for name in sys.modules if 'opentelemetry' in name])"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=PROJECT_FOLDER, capture_output=True, text=True, check=True
    )

    assert done.stdout == "[]\n"
