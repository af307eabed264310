"""Canaries through files, speech, extras and wrong keys: in no log, trace or number."""

import io
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from flask.testing import FlaskClient

from opendify.telemetry.logs import JsonFormatter, TextFormatter
from tests.conftest import Serve
from tests.fakes.collector import Collector, collecting
from tests.fakes.mock_dify import MockDify, refusal
from tests.fakes.waiting import wait_until
from tests.telemetry.test_canaries import _written, handled

KEY: Final = "sk-canary-key-00000000"
ADMIN: Final = "sk-canary-admin-000000"
PERSON: Final = "canary-person"
CONVERSATION: Final = "7c9e6679-7425-40de-944b-e07fc1f90ae7"
NAME: Final = {"model": "bot", "name": "canary-name"}
OPINION: Final = {"rating": "like", "content": "canary-opinion"}
RESPONSE: Final = {
    "model": "bot",
    "input": "canary-words",
    "instructions": "canary-rules",
    "metadata": {"canary-name": "canary-value"},
    "conversation": "canary-chat",
}
# As `configure_logging` quietens them.
NOISY: Final = ("httpx", "urllib3")
HEADERS: Final = {"Authorization": f"Bearer {KEY}", "X-OpenWebUI-User-Id": PERSON}


def _recording() -> dict[str, Any]:
    return {"model": "bot", "file": (io.BytesIO(b"RIFFcanary-recording"), "canary-recording.wav")}


def _document() -> dict[str, Any]:
    return {"purpose": "user_data", "file": (io.BytesIO(b"canary-content"), "canary-name.txt")}


def _ask_everywhere(client: FlaskClient) -> None:
    calls: list[tuple[str, str, dict[str, Any]]] = [
        ("POST", "/v1/audio/speech", {"json": {"model": "bot", "input": "canary-words", "voice": "alloy"}}),
        ("POST", "/v1/audio/transcriptions", {"data": _recording()}),
        ("POST", "/v1/files", {"data": _document()}),
        ("GET", "/v1/files/file-canary", {}),
        ("GET", f"/v1/dify/conversations?model=bot&user={PERSON}", {}),
        ("GET", f"/v1/dify/conversations/{CONVERSATION}/messages?model=bot", {}),
        (
            "POST",
            f"/v1/dify/conversations/{CONVERSATION}/name",
            {"json": {"model": "bot", "name": "canary-name"}},
        ),
        (
            "POST",
            f"/v1/dify/messages/{CONVERSATION}/feedback",
            {"json": {"rating": "like", "content": "canary-opinion"}},
        ),
        ("POST", "/v1/responses", {"json": RESPONSE}),
        ("POST", "/v1/responses", {"json": {**RESPONSE, "stream": True}}),
        ("POST", "/v1/responses", {"json": {**RESPONSE, "previous_response_id": "canary-response"}}),
        ("POST", "/v1/responses/input_tokens", {"json": RESPONSE}),
        ("GET", "/v1/responses/canary-response/input_items?after=canary-item", {}),
        ("GET", "/v1/models/canary-model", {}),
        ("GET", "/canary-path?key=canary-query", {}),
        ("DELETE", f"/v1/conversation/users/{PERSON}", {}),
    ]
    for method, path, told in calls:
        client.open(path, method=method, headers=HEADERS, buffered=True, **told)
    admin = {"Authorization": f"Bearer {ADMIN}"}
    client.delete(f"/v1/conversation/users/{PERSON}", headers=admin, buffered=True)
    for wrong in ("sk-canary-wrong-000000", "app-canary-wrong-000000"):
        client.get("/v1/models/bot", headers={"Authorization": f"Bearer {wrong}"}, buffered=True)


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "100")
    with collecting() as collector:
        yield collector


@pytest.mark.parametrize("is_broken", [False, True], ids=["answered", "refused"])
def test_no_canary_comes_out_of_any_route(
    serve: Serve,
    dify: MockDify,
    collector: Collector,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    is_broken: bool,
) -> None:
    for noisy in NOISY:
        caplog.set_level(logging.WARNING, noisy)
    if is_broken:
        for name in ("run", "upload", "audio-to-text", "text-to-audio", "other"):
            dify.answers[name] = lambda _: refusal(500, "internal", "canary-answer")
    else:
        dify.answers["audio-to-text"] = lambda _: httpx.Response(200, json={"text": "canary-answer"})
    text, text_handler = _written(TextFormatter())
    lines, json_handler = _written(JsonFormatter())
    told = {"ENABLE_OTEL": "true", "OTLP_TRACE_ENDPOINT": f"{collector.url}/v1/traces"}
    keys = {"AUTH_MODE": "keys", "API_KEYS": f"anna:{KEY}", "ADMIN_API_KEY": ADMIN}
    client = serve({"bot": "app-canary"}, **keys, **told)

    with handled(text_handler, json_handler):
        _ask_everywhere(client)
        page = client.get("/metrics", headers={"Authorization": f"Bearer {ADMIN}"}).text
        assert wait_until(lambda: len(collector.spans) >= 14, 30), len(collector.spans)

    audit = (tmp_path / "audit.log").read_text()
    events = {json.loads(line)["event"] for line in audit.splitlines()}
    assert {"access refused", "admin action"} <= events
    for where, told_there in {
        "text": text.getvalue(),
        "json": lines.getvalue(),
        "metrics": page,
        "audit": audit,
        "traces": collector.raw.decode("utf-8", "replace"),
    }.items():
        assert "canary" not in told_there, (
            where,
            [line for line in told_there.splitlines() if "canary" in line][:3],
        )
