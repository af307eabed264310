"""Short calls and uploads: what is sent, and what a bad answer becomes."""

import json

import httpx
import pytest

from opendify.dify.client import DifyClient
from opendify.errors import DifyError, GatewayError
from opendify.settings import DifyApp, Settings
from opendify.translate.dify_request import DifyRequest
from tests.fakes.files import SentFile
from tests.fakes.mock_dify import MockDify, refusal
from tests.fakes.settings import make_settings

PICTURE = SentFile("cat.png", "image/png", b"\x89PNG\r\n\x1a\n--boundary")


@pytest.fixture
def settings() -> Settings:
    headers = {"X-Team": "a", "User-Agent": "mine"}
    return make_settings({"bot": {"api_key": "app-bot", "mode": "chat", "headers": headers}})


@pytest.fixture
def app(settings: Settings) -> DifyApp:
    return settings.models[0]


@pytest.fixture
def client(settings: Settings, dify: MockDify) -> DifyClient:
    return DifyClient(settings, transport=dify.transport)


def test_a_run_is_posted_with_the_app_s_key_and_headers(
    client: DifyClient, app: DifyApp, dify: MockDify
) -> None:
    body = {"query": "Grüße \u2028 \ud800", "user": "u", "response_mode": "streaming", "inputs": {}}
    stream = client.open_run(app, DifyRequest("/chat-messages", "/chat-messages/{task_id}/stop", body))
    while stream.read(2.0) is not None:
        pass
    stream.close(whole=True)

    (request,) = dify.asked("run")
    assert (request.method, str(request.url)) == ("POST", "http://dify.test/v1/chat-messages")
    assert request.headers["Authorization"] == "Bearer app-bot"
    assert request.headers["Content-Type"] == "application/json"
    assert request.headers["X-Team"] == "a"
    assert request.headers["Accept-Encoding"] == "identity"
    assert json.loads(request.content) == body


def test_a_file_is_uploaded_with_its_name_type_and_user(
    client: DifyClient, app: DifyApp, dify: MockDify
) -> None:
    assert client.upload(app, PICTURE, "user-1") == "upload-1"

    (request,) = dify.asked("upload")
    assert request.url.path == "/v1/files/upload"
    content = request.content
    assert b'name="user"\r\n\r\nuser-1\r\n' in content
    assert b'name="file"; filename="cat.png"\r\nContent-Type: image/png\r\n\r\n' + PICTURE.content in content


@pytest.mark.parametrize(
    ("answer", "status", "code"),
    [
        (refusal(413, "file_too_large"), 413, "request_too_large"),
        (refusal(415, "unsupported_file_type"), 415, "unsupported_media_type"),
        (httpx.Response(413, html="<h1>413 Request Entity Too Large"), 413, "request_too_large"),
        (refusal(401, "unauthorized"), 502, "upstream_auth_error"),
        (httpx.Response(500, html="<h1>oops"), 502, "upstream_error"),
        (httpx.Response(302, headers={"Location": "/login"}), 502, "upstream_error"),
        (httpx.Response(200, html="<h1>login"), 502, "upstream_error"),
        (httpx.Response(201, json={}), 502, "upstream_error"),
        (httpx.Response(201, json=[]), 502, "upstream_error"),
        (httpx.Response(201, content=b""), 502, "upstream_error"),
    ],
    ids=["large", "type", "nginx", "key", "5xx", "redirect", "HTML", "no id", "list", "empty"],
)
def test_an_upload_that_fails_is_the_error_that_it_means(
    client: DifyClient, app: DifyApp, dify: MockDify, answer: httpx.Response, status: int, code: str
) -> None:
    dify.answers["upload"] = lambda _: answer

    with pytest.raises(GatewayError) as caught:
        client.upload(app, PICTURE, "user-1")

    assert (caught.value.status, caught.value.code) == (status, code)


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(200, html="<h1>login"),
        httpx.Response(200, content=b"\xff\xfe"),
        httpx.Response(302, headers={"Location": "/login"}),
        httpx.Response(200, content=b"[" * 200_000),
    ],
    ids=["HTML", "bytes", "redirect", "deep"],
)
def test_a_call_that_answers_no_json_is_an_upstream_error(
    client: DifyClient, app: DifyApp, dify: MockDify, answer: httpx.Response
) -> None:
    dify.answers["info"] = lambda _: answer

    with pytest.raises(DifyError) as caught:
        client.call(app, "GET", "/info")

    assert caught.value.code == "upstream_error"


def test_connections_are_opened_on_first_use_and_kept(
    settings: Settings, app: DifyApp, dify: MockDify
) -> None:
    made: list[httpx.BaseTransport] = []

    def factory() -> httpx.BaseTransport:
        made.append(dify.transport())
        return made[-1]

    client = DifyClient(settings, transport=factory)
    assert made == []
    for _ in range(3):
        client.call(app, "GET", "/info")
    assert len(made) == 1

    client.close()
    client.call(app, "GET", "/info")
    assert len(made) == 2
