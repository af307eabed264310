"""Which web pages may read our answers."""

import pytest

from tests.conftest import Serve
from tests.fakes.mock_dify import MockDify, refusal

PAGE = "https://chat.example"
CLOSED = {"AUTH_MODE": "keys", "API_KEYS": "anna:sk-anna-0123456789"}
KEY = {"Authorization": "Bearer sk-anna-0123456789"}
BODY = {"model": "bot", "messages": [{"role": "user", "content": "Hi"}]}
EXPOSED = {
    "x-request-id",
    "retry-after",
    "x-should-retry",
    "x-dify-conversation-id",
    "x-dify-message-id",
    "x-dify-workflow-run-id",
    *(
        f"x-ratelimit-{what}-{of}"
        for what in ("limit", "remaining", "reset")
        for of in ("requests", "tokens")
    ),
}

OPENAI_NODE = (
    "authorization,content-type,x-stainless-lang,x-stainless-package-version,x-stainless-os,x-stainless-arch,"
    "x-stainless-runtime,x-stainless-runtime-version,x-stainless-retry-count,x-stainless-timeout,"
    "x-stainless-helper-method"
)


@pytest.mark.parametrize(
    "path",
    ["/v1/chat/completions", "/chat/completions", "/v1/models", "/v1/models/x", "/nope", "/health", "/"],
)
def test_a_preflight_is_204_without_a_key_on_every_path(serve: Serve, path: str) -> None:
    headers = {
        "Origin": PAGE,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": OPENAI_NODE,
    }

    response = serve(**CLOSED).options(path, headers=headers)

    assert response.status_code == 204
    assert response.data == b""
    assert response.headers["Access-Control-Allow-Origin"] == "*"
    assert response.headers["Access-Control-Allow-Methods"] == "GET, POST, DELETE, OPTIONS"
    assert response.headers["Access-Control-Allow-Headers"] == OPENAI_NODE
    assert response.headers["Access-Control-Max-Age"] == "86400"
    assert "Access-Control-Allow-Credentials" not in response.headers
    assert response.headers["x-request-id"]


def test_where_keys_are_asked_for_any_page_may_read_every_answer(serve: Serve, dify: MockDify) -> None:
    client = serve(**CLOSED)
    stream = client.post(
        "/v1/chat/completions", json={**BODY, "stream": True}, headers={"Origin": PAGE, **KEY}
    )
    dify.answers["run"] = lambda _: refusal(429, "too_many_requests")

    for response in (
        stream,
        client.get("/v1/models", headers={"Origin": PAGE, **KEY}),
        client.get("/v1/models", headers={"Origin": PAGE, "Authorization": "Bearer wrong"}),
        client.get("/nope", headers={"Origin": PAGE}),
        client.get("/v1/chat/completions", headers={"Origin": PAGE}),
        client.post("/v1/chat/completions", data=b"{", headers={"Origin": PAGE, **KEY}),
        client.post("/v1/chat/completions", json=BODY, headers={"Origin": PAGE, **KEY}),
    ):
        assert response.headers["Access-Control-Allow-Origin"] == "*"
        exposed = {
            name.strip().lower() for name in response.headers["Access-Control-Expose-Headers"].split(",")
        }
        assert exposed >= EXPOSED
        assert "Access-Control-Allow-Credentials" not in response.headers


def test_in_open_mode_no_page_may(serve: Serve) -> None:
    client = serve()

    for response in (
        client.options("/v1/chat/completions", headers={"Origin": PAGE}),
        client.get("/v1/models", headers={"Origin": PAGE}),
        client.get("/health", headers={"Origin": PAGE}),
        client.get("/nope", headers={"Origin": PAGE}),
    ):
        assert "Access-Control-Allow-Origin" not in response.headers


@pytest.mark.parametrize("mode", [{}, CLOSED], ids=["open", "keys"])
def test_listed_origins_decide_in_either_mode(serve: Serve, mode: dict[str, str]) -> None:
    client = serve(**mode, CORS_ORIGINS=f"{PAGE}, https://b.example")

    ours = client.get("/v1/models", headers={"Origin": PAGE, **KEY})
    theirs = client.get("/health", headers={"Origin": "https://evil.example"})

    assert ours.status_code == 200
    assert ours.headers["Access-Control-Allow-Origin"] == PAGE
    assert "Access-Control-Allow-Origin" not in theirs.headers
    for response in (ours, theirs):
        assert "Origin" in response.headers["Vary"], "a shared cache must keep them apart"


def test_a_star_opens_open_mode_to_every_page(serve: Serve) -> None:
    client = serve(CORS_ORIGINS="*")

    response = client.post("/v1/chat/completions", json=BODY, headers={"Origin": PAGE})

    assert response.status_code == 200
    assert response.headers["Access-Control-Allow-Origin"] == "*"


def test_off_is_off_where_keys_are_asked_for(serve: Serve) -> None:
    response = serve(**CLOSED, CORS_ORIGINS="off").get("/v1/models", headers={"Origin": PAGE, **KEY})

    assert response.status_code == 200
    assert "Access-Control-Allow-Origin" not in response.headers
