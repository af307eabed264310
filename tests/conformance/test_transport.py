"""URLs, keys and web pages, as real clients come."""

import pytest
from werkzeug.test import TestResponse

from tests.conftest import Serve
from tests.fakes.mock_dify import MockDify
from tests.fakes.openai_errors import assert_openai_error

BODY: dict[str, object] = {"model": "bot", "messages": [{"role": "user", "content": "Hi"}]}
KEY = "sk-the-right-key"


@pytest.mark.parametrize(
    "path",
    [
        "/v1/chat/completions",
        "/v1/chat/completions/",
        "/chat/completions",
        "/v1/v1/chat/completions",
        "/openai/v1/chat/completions",
        "/openai/deployments/bot/chat/completions?api-version=2024-10-21",
    ],
)
def test_every_form_of_the_url_is_served_and_not_redirected(serve: Serve, path: str) -> None:
    assert serve().post(path, json=BODY).status_code == 200


def test_a_deployment_in_the_url_names_the_model(serve: Serve) -> None:
    path = "/openai/deployments/bot/chat/completions"

    assert serve().post(path, json={"messages": BODY["messages"]}).status_code == 200


@pytest.mark.parametrize("path", ["/", "/health", "/v1"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_probes_are_answered_without_a_key(serve: Serve, path: str, method: str) -> None:
    client = serve(AUTH_MODE="keys", API_KEYS=f"me:{KEY}")

    assert client.open(path, method=method).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": f"Bearer {KEY}"},
        {"Authorization": f"bearer   {KEY} "},
        {"Authorization": f"BEARER {KEY}"},
        {"api-key": KEY},
        {"x-api-key": KEY},
    ],
)
def test_a_key_is_read_from_where_clients_put_it(serve: Serve, headers: dict[str, str]) -> None:
    client = serve(AUTH_MODE="keys", API_KEYS=f"me:{KEY}")

    assert client.post("/v1/chat/completions", json=BODY, headers=headers).status_code == 200


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/models/bot", "/v1/no/such/url"])
def test_a_preflight_needs_no_key_and_gets_its_headers_back(serve: Serve, path: str) -> None:
    client = serve(AUTH_MODE="keys", API_KEYS=f"me:{KEY}")
    wanted = "authorization,content-type,x-stainless-lang,x-stainless-os,x-something-of-tomorrow"

    response = client.options(
        path, headers={"Origin": "https://chat.example", "Access-Control-Request-Headers": wanted}
    )

    assert (response.status_code, response.data) == (204, b"")
    assert response.headers["Access-Control-Allow-Headers"] == wanted
    assert response.headers["Access-Control-Allow-Methods"] == "GET, POST, DELETE, OPTIONS"
    assert response.headers["Access-Control-Max-Age"] == "86400"
    assert_web_pages_may_read(response)


def test_web_pages_may_read_answers_streams_and_errors(serve: Serve, dify: MockDify) -> None:
    client = serve(AUTH_MODE="keys", API_KEYS=f"me:{KEY}")
    headers = {"Authorization": f"Bearer {KEY}", "Origin": "https://chat.example"}

    def post(body: dict[str, object]) -> TestResponse:
        return client.post("/v1/chat/completions", json=body, headers=headers)

    for response in (
        post(BODY),
        post(BODY | {"stream": True}),
        post({}),
        client.get("/nowhere", headers=headers),
    ):
        assert_web_pages_may_read(response)
    refused = client.post("/v1/chat/completions", json=BODY, headers={"Origin": "https://chat.example"})
    assert_openai_error(refused, 401, "invalid_api_key")
    assert_web_pages_may_read(refused)


def assert_web_pages_may_read(response: TestResponse) -> None:
    assert response.headers["Access-Control-Allow-Origin"] == "*"
    exposed = response.headers["Access-Control-Expose-Headers"].lower()
    assert {"x-request-id", "retry-after", "x-should-retry"} <= set(exposed.split(", "))
    assert "Access-Control-Allow-Credentials" not in response.headers


def test_an_answer_asks_not_to_be_buffered_or_kept(serve: Serve) -> None:
    response = serve().post("/v1/chat/completions", json=BODY | {"stream": True})

    assert response.headers["Content-Type"] == "text/event-stream; charset=utf-8"
    assert response.headers["Cache-Control"] == "no-cache"
    assert response.headers["X-Accel-Buffering"] == "no"
    assert not {"Content-Length", "Content-Encoding"} & set(response.headers.keys())


def test_a_body_that_is_too_large_is_told_so_in_json(serve: Serve) -> None:
    body = BODY | {"padding": "x" * 3_000}

    response = serve(MAX_REQUEST_BYTES="2048").post("/v1/chat/completions", json=body)

    assert_openai_error(response, 413, "request_too_large")
