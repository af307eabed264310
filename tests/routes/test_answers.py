"""What good answers carry: headers, ids, models, one log line."""

import io
import json
import logging
import re
import threading
from collections.abc import Iterator

import httpx
import pytest

from opendify.app import create_app
from opendify.telemetry.logs import TextFormatter
from tests.conftest import Serve
from tests.fakes.frames import END, IDS, event, message, read_frames
from tests.fakes.mock_dify import MockDify, refusal, stream
from tests.fakes.openai_errors import assert_openai_error, body_of
from tests.fakes.served_app import served
from tests.fakes.settings import make_settings

CHAT = {"model": "bot", "messages": [{"role": "user", "content": "Hi"}]}
KEY = "sk-canary-key-0123456789"
CLOSED = {"AUTH_MODE": "keys", "API_KEYS": f"anna:{KEY}"}
LOG_FIELDS = {"request_id", "method", "route", "status", "first_byte_seconds", "seconds"}


def test_a_whole_answer_carries_dify_s_ids(serve: Serve) -> None:
    response = serve().post("/v1/chat/completions", json=CHAT)

    assert response.headers["Content-Type"] == "application/json"
    assert response.headers["X-Dify-Conversation-Id"] == IDS["conversation_id"]
    assert response.headers["X-Dify-Message-Id"] == IDS["message_id"]
    assert response.get_json()["dify"]["task_id"] == IDS["task_id"]


@pytest.mark.parametrize(
    ("path", "asked", "named"),
    [
        ("/v1/chat/completions", {"messages": CHAT["messages"]}, r"chatcmpl-[0-9a-f]{24}"),
        ("/v1/completions", {"prompt": "Hi"}, r"cmpl-[0-9a-f]{24}"),
    ],
)
def test_an_answer_is_named_as_openai_s_are(
    serve: Serve, path: str, asked: dict[str, object], named: str
) -> None:
    body = serve().post(path, json={"model": "bot", **asked}).get_json()

    assert re.fullmatch(named, body["id"])


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/models", "/v1/models/nobody", "/health/live"])
def test_the_length_of_an_answer_stands_in_it_once(serve: Serve, path: str) -> None:
    """Nginx from 1.23 on answers 502 where a server says it twice, even if both agree."""
    client = serve()
    response = client.post(path, json=CHAT) if path.endswith("completions") else client.get(path)

    assert response.headers.getlist("Content-Length") == [str(len(response.data))]


def test_a_stream_s_headers_let_it_flow_and_carry_dify_s_ids(serve: Serve) -> None:
    response = serve().post("/v1/chat/completions", json={**CHAT, "stream": True})

    assert response.status_code == 200
    assert response.headers["Content-Type"] == "text/event-stream; charset=utf-8"
    assert response.headers["Cache-Control"] == "no-cache"
    assert response.headers["X-Accel-Buffering"] == "no"
    assert "Content-Length" not in response.headers
    assert response.headers["X-Dify-Conversation-Id"] == IDS["conversation_id"]
    assert read_frames([body_of(response)])[-1] == "[DONE]"


def test_a_streamed_text_completion_is_text_objects_then_done(serve: Serve) -> None:
    body = {"model": "bot", "prompt": "Once", "echo": True, "stream": True}

    response = serve().post("/v1/completions", json=body)

    frames = read_frames([body_of(response)])
    objects = [frame for frame in frames if isinstance(frame, dict)]
    assert {frame["object"] for frame in objects} == {"text_completion"}
    assert "".join(choice["text"] for frame in objects for choice in frame["choices"]) == "OnceHello"
    assert frames[-1] == "[DONE]"


def test_a_stream_that_was_committed_before_dify_spoke_has_no_ids_yet(serve: Serve, dify: MockDify) -> None:
    go_on = threading.Event()

    def slow(_: httpx.Request) -> httpx.Response:
        go_on.wait(5)
        return stream()

    dify.answers["run"] = slow
    response = serve(STREAM_COMMIT_SECONDS="0").post("/v1/chat/completions", json={**CHAT, "stream": True})
    go_on.set()

    assert response.status_code == 200
    assert "X-Dify-Conversation-Id" not in response.headers
    assert read_frames([body_of(response)])[-1] == "[DONE]"


def test_an_id_of_dify_s_that_is_no_header_does_no_harm(serve: Serve, dify: MockDify) -> None:
    odd = event("message", answer="Hi", conversation_id="a\r\nSet-Cookie: x=1", message_id="号")
    dify.answers["run"] = lambda _: stream(odd + END)

    for streams in (False, True):
        response = serve().post("/v1/chat/completions", json={**CHAT, "stream": streams})
        assert response.status_code == 200
        assert "Set-Cookie" not in response.headers


def test_every_answer_has_its_own_request_id(serve: Serve) -> None:
    client = serve()
    answers = [
        *(client.get("/v1/models") for _ in range(20)),
        client.get("/"),
        client.head("/health"),
        client.options("/v1/models"),
        client.get("/nope"),
        client.put("/v1/models"),
        client.post("/v1/chat/completions", data=b"{"),
        client.post("/v1/chat/completions", json=CHAT),
        client.post("/v1/chat/completions", json={**CHAT, "stream": True}),
        client.get("/v1/models", headers={"x-request-id": "req_mine"}),
    ]

    ids = [answer.headers["x-request-id"] for answer in answers]
    assert len(set(ids)) == len(ids)
    assert all(each.startswith("req_") and len(each) > 16 for each in ids)


def _break(dify: MockDify) -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("down", request=request)

    dify.answers = dict.fromkeys(("info", "parameters", "run"), refuse)


def test_models_are_listed_and_found_with_dify_down(serve: Serve, dify: MockDify) -> None:
    _break(dify)
    client = serve({"zoo": {"api_key": "app-zoo", "aliases": ["gpt-4o"]}, "bot": "app-bot"})

    listed = client.get("/v1/models").get_json()
    assert listed["object"] == "list"
    assert [model["id"] for model in listed["data"]] == ["zoo", "gpt-4o", "bot"]
    for model in listed["data"]:
        assert model["object"] == "model"
        assert isinstance(model["created"], int)
        assert model["owned_by"]
        assert client.get(f"/v1/models/{model['id']}").get_json() == model
    assert dify.requests == []


def test_an_unknown_model_is_not_found(serve: Serve) -> None:
    response = serve().get("/v1/models/gpt-9")

    assert "'gpt-9'" in assert_openai_error(response, 404, "model_not_found", param="model")


def test_without_a_key_the_list_is_empty_and_the_rest_is_closed(serve: Serve) -> None:
    client = serve(**CLOSED)

    probe = client.get("/v1/models")
    assert (probe.status_code, probe.get_json()) == (200, {"object": "list", "data": []})
    assert client.head("/v1/models").status_code == 200
    assert_openai_error(client.get("/v1/models/bot"), 401, "invalid_api_key")
    wrong = {"Authorization": "Bearer sk-wrong"}
    assert_openai_error(client.get("/v1/models", headers=wrong), 401, "invalid_api_key")
    right = client.get("/v1/models", headers={"Authorization": f"Bearer {KEY}"})
    assert [model["id"] for model in right.get_json()["data"]] == ["bot"]


def test_a_key_is_asked_for_before_the_body_is_looked_at(serve: Serve, dify: MockDify) -> None:
    client = serve(**CLOSED)

    for path in ("/v1/chat/completions", "/v1/completions", "/openai/deployments/bot/chat/completions"):
        assert_openai_error(client.post(path, data=b"{"), 401, "invalid_api_key")
    assert dify.requests == []


@pytest.mark.parametrize("path", ["/", "/health", "/health/live", "/health/ready"])
def test_probes_need_no_key_and_tell_nothing_of_the_models(serve: Serve, path: str) -> None:
    response = serve(**CLOSED).get(path)

    assert response.status_code == 200
    assert b"bot" not in response.data


def _lines(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.name == "opendify.requests"]


def test_a_request_leaves_one_line_with_its_id_times_and_status(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    client = serve(**CLOSED)
    key = {"Authorization": f"Bearer {KEY}"}
    answers = [
        client.get("/v1/models"),
        client.post("/v1/chat/completions", json=CHAT, headers=key),
        client.post("/chat/completions", json={**CHAT, "stream": True}, headers=key),
        client.post("/v1/chat/completions", json=CHAT),
        client.get("/nope?secret=1"),
        client.options("/v1/models"),
    ]
    for answer in answers:
        answer.close()

    lines = [vars(line) for line in _lines(caplog)]
    assert [(line["request_id"], line["status"]) for line in lines] == [
        (answer.headers["x-request-id"], answer.status_code) for answer in answers
    ]
    for line in lines:
        assert line.keys() >= LOG_FIELDS
        assert 0 <= line["first_byte_seconds"] <= line["seconds"] < 60
        assert "secret" not in line["route"]
    assert lines[3]["error"] == "invalid_api_key"


def test_a_stream_s_line_comes_with_its_last_byte(
    serve: Serve, dify: MockDify, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    response = serve().post("/v1/chat/completions", json={**CHAT, "stream": True}, buffered=False)
    assert _lines(caplog) == []

    response.close()

    assert len(_lines(caplog)) == 1


def test_a_stream_that_broke_says_so_in_its_line(
    serve: Serve, dify: MockDify, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    dify.answers["run"] = lambda _: stream(message("Hel"))

    response = serve().post("/v1/chat/completions", json={**CHAT, "stream": True})
    assert "error" in response.get_data(as_text=True)
    response.close()

    (line,) = _lines(caplog)
    assert vars(line)["error"] == "upstream_error", "a 200 that failed must not look like one that did not"


CANARIES = (
    KEY,
    "app-canary-0123456789abcdef",
    "canary-prompt",
    "canary-answer",
    "canary-input",
    "canary-system",
)


def _canary_requests(serve: Serve, dify: MockDify) -> None:
    client = serve({"bot": CANARIES[1]}, **CLOSED, LOG_LEVEL="debug")
    key = {"Authorization": f"Bearer {KEY}"}
    messages = [
        {"role": "system", "content": "canary-system"},
        {"role": "user", "content": "canary-prompt"},
    ]
    body = {**CHAT, "messages": messages, "inputs": {"x": "canary-input"}, "user": "anna"}
    runs = [
        lambda _: stream(message("canary-answer") + END),
        lambda _: stream(message("canary-answer")),
        lambda _: stream(b"data: canary-answer\n\n"),
        lambda _: refusal(400, "invalid_param", "canary-prompt is not right"),
        lambda _: refusal(401, "unauthorized", "canary-answer"),
        lambda _: httpx.Response(500, html="canary-answer"),
    ]
    for run in runs:
        dify.answers["run"] = run
        for streams in (False, True):
            client.post("/v1/chat/completions", json={**body, "stream": streams}, headers=key).close()
    client.post("/v1/chat/completions", json={**body, "temperature": "canary-prompt"}, headers=key).close()
    client.post("/v1/chat/completions", data=b'{"canary-prompt', headers=key).close()
    client.post("/v1/chat/completions", json=body, headers={"Authorization": f"Bearer {KEY}x"}).close()
    client.get("/v1/models?key=" + KEY, headers=key).close()


def test_no_log_line_holds_a_key_a_prompt_or_an_answer(serve: Serve, dify: MockDify) -> None:
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    handler.setFormatter(TextFormatter())
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    try:
        _canary_requests(serve, dify)
    finally:
        root.removeHandler(handler)
        root.setLevel(level)

    assert "request ended" in written.getvalue()
    for canary in CANARIES:
        assert canary not in written.getvalue()


def test_a_log_line_s_values_cannot_forge_another_line() -> None:
    record = logging.makeLogRecord(
        {"msg": "request ended", "path": "/x\n2026 - INFO - forged", "seconds": 0.5}
    )

    line = TextFormatter().format(record)

    assert "\n" not in line
    assert "seconds=0.5000" in line


def test_a_stream_reaches_a_client_piece_by_piece(dify: MockDify) -> None:
    go_on = threading.Event()

    class Pieces(httpx.SyncByteStream):
        def __iter__(self) -> Iterator[bytes]:
            yield message("Hel")
            go_on.wait(5)
            yield message("lo") + END

    dify.answers["run"] = lambda _: httpx.Response(
        200, headers={"Content-Type": "text/event-stream"}, stream=Pieces()
    )
    app = create_app(make_settings(), transport=dify.transport)
    body = {**CHAT, "stream": True}
    with (
        served(app) as url,
        httpx.Client(base_url=url) as client,
        client.stream("POST", "/v1/chat/completions", json=body) as response,
    ):
        lines = response.iter_lines()
        seen = ""
        while '"content":"Hel"' not in seen:
            seen += next(lines)
        assert '"content":"lo"' not in seen
        go_on.set()
        assert "data: [DONE]" in list(lines)


def test_several_requests_share_one_connection_after_errors_too(dify: MockDify) -> None:
    app = create_app(make_settings(), transport=dify.transport)
    with served(app) as url, httpx.Client(base_url=url, limits=httpx.Limits(max_connections=1)) as client:
        for body in (b"{", json.dumps(CHAT).encode(), json.dumps({**CHAT, "stream": True}).encode()):
            client.post("/v1/chat/completions", content=body)
        assert client.get("/v1/models").status_code == 200
