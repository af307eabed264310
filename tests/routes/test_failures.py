"""Every failure of a request, streamed or not, is a status with OpenAI's body."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import httpx
import pytest

from opendify.app import create_app
from opendify.errors import GatewayError
from tests.conftest import Serve
from tests.fakes.frames import event, message, read_frames, text_of
from tests.fakes.mock_dify import MockDify, refusal, stream
from tests.fakes.openai_errors import assert_error_object, assert_openai_error, body_of
from tests.fakes.served_app import served
from tests.fakes.settings import make_settings

CHAT = {"model": "bot", "messages": [{"role": "user", "content": "Hi"}]}
NEVER = {"x-should-retry": "false"}
SOON = {"Retry-After": "5"}


def _raises(kind: type[httpx.TransportError]) -> Callable[[httpx.Request], httpx.Response]:
    def answer(request: httpx.Request) -> httpx.Response:
        raise kind("no", request=request)

    return answer


def _answers(response: httpx.Response) -> Callable[[httpx.Request], httpx.Response]:
    return lambda _: httpx.Response(response.status_code, headers=response.headers, content=response.content)


@pytest.mark.parametrize("streams", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize(
    ("run", "status", "code", "advice"),
    [
        (_raises(httpx.ConnectError), 503, "upstream_unreachable", SOON),
        (_raises(httpx.ConnectTimeout), 503, "upstream_unreachable", SOON),
        (_raises(httpx.ReadTimeout), 504, "upstream_timeout", NEVER),
        (_raises(httpx.ReadError), 502, "upstream_error", NEVER),
        (_raises(httpx.RemoteProtocolError), 502, "upstream_error", NEVER),
        (_answers(httpx.Response(500, html="<h1>oops")), 502, "upstream_error", NEVER),
        (_answers(httpx.Response(200, html="<h1>login")), 502, "upstream_error", NEVER),
        (_answers(stream(message("")[:-9])), 502, "upstream_error", NEVER),
        (_answers(refusal(401, "unauthorized")), 502, "upstream_auth_error", NEVER),
        (_answers(refusal(400, "app_unavailable")), 502, "upstream_app_error", NEVER),
        (_answers(refusal(400, "provider_not_initialize")), 502, "upstream_app_error", NEVER),
        (_answers(refusal(400, "completion_request_error")), 502, "upstream_run_failed", NEVER),
        (_answers(refusal(400, "provider_quota_exceeded")), 429, "insufficient_quota", NEVER),
        (_answers(refusal(429, "too_many_requests")), 429, "rate_limit_exceeded", SOON),
        (
            _answers(refusal(429, "rate_limit_error", **{"Retry-After": "9"})),
            429,
            "rate_limit_exceeded",
            {"Retry-After": "9"},
        ),
        (
            _answers(refusal(400, "invalid_param", "Too many requests. Please try again later. 10/10")),
            429,
            "rate_limit_exceeded",
            SOON,
        ),
        (_answers(httpx.Response(413, html="<h1>413")), 413, "request_too_large", {}),
        (_answers(refusal(404, "not_found", "Conversation Not Exists.")), 404, "conversation_not_found", {}),
        (
            _answers(stream(event("error", code="rate_limit_error", status=429, message="slow down"))),
            429,
            "rate_limit_exceeded",
            SOON | NEVER,
        ),
        (
            _answers(stream(event("error", code="completion_request_error", message="on fire"))),
            502,
            "upstream_run_failed",
            NEVER,
        ),
    ],
)
def test_what_dify_does_wrong_is_what_the_table_says(
    serve: Serve,
    dify: MockDify,
    run: Callable[[httpx.Request], httpx.Response],
    status: int,
    code: str,
    advice: dict[str, str],
    streams: bool,
) -> None:
    dify.answers["run"] = run

    response = serve().post("/v1/chat/completions", json={**CHAT, "stream": streams})

    assert_openai_error(response, status, code)
    given = {
        name: response.headers[name] for name in ("Retry-After", "x-should-retry") if name in response.headers
    }
    assert given == advice
    assert "X-Dify-Conversation-Id" not in response.headers or code not in {"upstream_unreachable"}


@pytest.mark.parametrize("streams", [False, True], ids=["whole", "streamed"])
def test_a_missing_input_is_named(serve: Serve, dify: MockDify, streams: bool) -> None:
    form = [{"text-input": {"variable": "lang", "required": True}}]
    dify.answers["parameters"] = lambda _: httpx.Response(200, json={"user_input_form": form})

    response = serve().post("/v1/chat/completions", json={**CHAT, "stream": streams})

    text = assert_openai_error(response, 400, "invalid_input", param="inputs.lang")
    assert "lang" in text
    assert "text-input" in text
    assert not dify.asked("run")


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions"])
@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"null", b'"text"', b"\xff\xfe", b"model=bot&x=1", b"[" * 100_000, b"\x00", b"1"],
)
def test_a_body_that_is_no_json_object_is_refused(serve: Serve, path: str, body: bytes) -> None:
    response = serve().post(path, data=body, content_type="application/json")

    assert_openai_error(response, 400, None)


@pytest.mark.parametrize(
    ("fields", "code", "param"),
    [
        ({"model": None}, None, None),
        ({"model": "none"}, "model_not_found", "model"),
        ({"messages": None}, "missing_required_parameter", "messages"),
        ({"messages": []}, "empty_array", "messages"),
        ({"messages": "Hi"}, "invalid_type", "messages"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "invalid_value", "messages[0].role"),
        ({"temperature": 3}, "decimal_above_max_value", "temperature"),
        ({"stream": "yes"}, "invalid_type", "stream"),
        ({"n": 2}, "unsupported_value", "n"),
    ],
)
def test_a_wrong_field_is_named(
    serve: Serve, fields: dict[str, object], code: str | None, param: str | None
) -> None:
    response = serve().post("/v1/chat/completions", json={**CHAT, **fields})

    assert_openai_error(response, 404 if code == "model_not_found" else 400, code, param=param)


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json",
        "application/json; charset=utf-8",
        "application/x-www-form-urlencoded",
        "text/plain",
        "",
        "multipart/form-data; boundary=x",
        "nonsense",
    ],
)
def test_json_is_json_whatever_its_content_type_says(serve: Serve, content_type: str) -> None:
    body = b'{"model": "bot", "messages": [{"role": "user", "content": "Hi"}]}'

    response = serve().post("/v1/chat/completions", data=body, headers={"Content-Type": content_type})

    assert response.status_code == 200


@pytest.mark.parametrize("accept", ["application/json", "*/*", "text/event-stream", "image/png"])
@pytest.mark.parametrize("streams", [False, True])
def test_no_accept_header_is_a_reason_to_refuse(serve: Serve, accept: str, streams: bool) -> None:
    response = serve().post(
        "/v1/chat/completions", json={**CHAT, "stream": streams}, headers={"Accept": accept}
    )

    assert response.status_code == 200


def test_a_body_beyond_the_limit_is_refused(serve: Serve) -> None:
    client = serve(MAX_REQUEST_BYTES="1024")

    response = client.post("/v1/chat/completions", json={**CHAT, "pad": "x" * 1_024})

    assert "1024" in assert_openai_error(response, 413, "request_too_large")
    assert client.post("/v1/chat/completions", json=CHAT).status_code == 200


def test_a_body_without_a_length_meets_the_same_limit(dify: MockDify) -> None:
    def pieces(count: int) -> Iterator[bytes]:
        yield b'{"model": "bot", "messages": [{"role": "user", "content": "Hi"}], "pad": "'
        yield from [b"x" * 100] * count
        yield b'"}'

    settings = make_settings(MAX_REQUEST_BYTES="1024")
    with ExitStack() as stack:
        url = stack.enter_context(served(create_app(settings, transport=dify.transport)))
        client = stack.enter_context(httpx.Client(base_url=url))
        assert client.post("/v1/chat/completions", content=pieces(2)).status_code == 200
        response = client.post("/v1/chat/completions", content=pieces(20))

    assert_openai_error(response, 413, "request_too_large")


def test_a_claimed_length_beyond_the_limit_is_refused_unread(serve: Serve) -> None:
    response = serve(MAX_REQUEST_BYTES="1024").post(
        "/v1/chat/completions", data=b"{}", environ_overrides={"CONTENT_LENGTH": str(10**15)}
    )

    assert_openai_error(response, 413, "request_too_large")


def test_a_fault_of_ours_is_an_internal_error_that_tells_nothing(
    serve: Serve, dify: MockDify, caplog: pytest.LogCaptureFixture
) -> None:
    def fault(_: httpx.Request) -> httpx.Response:
        raise KeyError("a-secret-of-the-code")

    for name in ("info", "run"):
        dify.answers = {name: fault}
        for streams in (False, True):
            response = serve().post("/v1/chat/completions", json={**CHAT, "stream": streams})
            text = assert_openai_error(response, 500, "internal_error")
            assert "secret" not in text
            assert response.headers["x-should-retry"] == "false"
    assert "a-secret-of-the-code" in caplog.text, "the operator sees it"


def test_a_failure_in_mid_stream_is_a_frame_in_a_200(serve: Serve, dify: MockDify) -> None:
    broken = message("Hel") + event("error", code="completion_request_error", message="on fire")
    dify.answers["run"] = lambda _: stream(broken)

    response = serve().post("/v1/chat/completions", json={**CHAT, "stream": True})

    assert response.status_code == 200
    frames = read_frames([body_of(response)])
    assert text_of(frames[:-1]) == "Hel"
    assert "on fire" in assert_error_object(frames[-1], 502, "upstream_run_failed")


def test_every_class_of_error_is_a_body_with_four_keys() -> None:
    kinds = [GatewayError]
    for kind in kinds:
        kinds += kind.__subclasses__()
    for kind in kinds:
        error = kind("Something is wrong")
        assert_error_object(error.to_body(), kind.status, kind.code)
