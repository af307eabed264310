"""The many ways in which clients write our URLs."""

from urllib.parse import quote

import pytest

from tests.conftest import Serve
from tests.fakes.mock_dify import MockDify
from tests.fakes.openai_errors import assert_openai_error

BODY = {"messages": [{"role": "user", "content": "Hi"}]}


@pytest.mark.parametrize(
    "path",
    [
        "/v1/chat/completions",
        "/chat/completions",
        "/v1/v1/chat/completions",
        "/v1/chat/completions/",
        "/chat/completions/",
        "/openai/v1/chat/completions",
        "/openai/v1/chat/completions?api-version=preview",
        "/openai/chat/completions",
        "/openai/deployments/bot/chat/completions?api-version=2024-10-21",
        "/openai/deployments/bot/chat/completions/",
    ],
)
def test_a_chat_completion_is_served_wherever_clients_look_for_it(serve: Serve, path: str) -> None:
    response = serve().post(path, json={"model": "bot", **BODY})

    assert response.status_code == 200, "never a redirect: it would turn a POST into a GET"
    assert response.get_json()["choices"][0]["message"]["content"] == "Hello"


@pytest.mark.parametrize(
    "path", ["/v1/completions", "/completions", "/v1/v1/completions", "/openai/v1/completions/"]
)
def test_a_text_completion_is_served_wherever_clients_look_for_it(serve: Serve, path: str) -> None:
    response = serve().post(path, json={"model": "bot", "prompt": "Hi"})

    assert response.get_json()["choices"][0]["text"] == "Hello"


@pytest.mark.parametrize(
    "path", ["/v1/models", "/models", "/v1/models/", "/v1/v1/models", "/openai/v1/models", "/openai/models"]
)
def test_the_models_are_listed_wherever_clients_look_for_them(serve: Serve, path: str) -> None:
    assert [model["id"] for model in serve().get(path).get_json()["data"]] == ["bot"]


@pytest.mark.parametrize(
    "model",
    ["bot", "org/bot", "my bot", "翻译助手", "a/b c/ü", "v1/models", "100%", "what?", "a+b", "openai/x"],
)
@pytest.mark.parametrize("form", ["/v1/models/{}", "/models/{}", "/openai/v1/models/{}/"])
def test_a_model_is_found_whatever_its_name_holds(serve: Serve, model: str, form: str) -> None:
    client = serve({model: "app-1"})

    for name in (quote(model), quote(model, safe="")):
        response = client.get(form.format(name))
        assert response.get_json()["id"] == model


@pytest.mark.parametrize("model", ["bot", "org/bot", "my bot", "翻译助手", "chat/completions"])
@pytest.mark.parametrize("rest", ["chat/completions", "completions"])
def test_azure_names_the_model_in_the_path(serve: Serve, dify: MockDify, model: str, rest: str) -> None:
    body: dict[str, object] = {"prompt": "Hi"} if rest == "completions" else {**BODY}
    client = serve({"other": "app-0", model: "app-1"})

    for name in (quote(model), quote(model, safe="")):
        response = client.post(f"/openai/deployments/{name}/{rest}?api-version=2024-10-21", json=body)
        assert response.get_json()["model"] == model
    assert {request.headers["Authorization"] for request in dify.asked("run")} == {"Bearer app-1"}


def test_a_model_in_the_body_may_repeat_azure_s(serve: Serve) -> None:
    response = serve().post("/openai/deployments/bot/chat/completions", json={"model": "bot", **BODY})

    assert response.status_code == 200


def test_an_unknown_deployment_is_an_unknown_model(serve: Serve) -> None:
    response = serve().post("/openai/deployments/none/chat/completions", json=BODY)

    assert "'none'" in assert_openai_error(response, 404, "model_not_found", param="model")


@pytest.mark.parametrize("prefix", ["/ai", "/a/b", "/v1"])
def test_a_url_prefix_serves_everything_below_it_and_nothing_beside(serve: Serve, prefix: str) -> None:
    client = serve(URL_PREFIX=prefix)

    for path in ("/v1/chat/completions", "/chat/completions", "/openai/v1/chat/completions"):
        assert client.post(prefix + path, json={"model": "bot", **BODY}).status_code == 200
    assert client.get(f"{prefix}/health").status_code == 200
    assert client.get(prefix).get_json()["name"] == "OpenDify"
    assert_openai_error(client.get("/health"), 404, "not_found")
    assert "/aix/v1/models" in assert_openai_error(client.get("/aix/v1/models"), 404, "not_found")


@pytest.mark.parametrize(
    "path",
    [
        "/nope",
        "/v1/nope",
        "/v1/chat",
        "/v2/models",
        "/v1/chat/completions/extra",
        "/-/outside-of-url-prefix",
        "/favicon.ico",
        "//",
        "/v1/..%2f",
        "/%00",
        "/%ff%fe",
        "/%E4%B8",
        "/static/x",
        "/v1modelsx",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "PUT", "PATCH"])
def test_an_unknown_route_is_openai_s_json_in_every_method(serve: Serve, path: str, method: str) -> None:
    response = serve().open(path, method=method)

    if path == "//" and response.status_code != 404:
        assert response.status_code in {200, 405}
        return
    assert assert_openai_error(response, 404, "not_found").startswith(f"Invalid URL ({method} /")


@pytest.mark.parametrize("path", ["/v1/responses", "/responses", "/openai/v1/responses/"])
def test_responses_are_served_where_clients_ask_for_them(serve: Serve, path: str) -> None:
    response = serve().post(path, json={"model": "bot", "input": "Hi"})

    assert (response.status_code, response.get_json()["object"]) == (200, "response")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/v1/chat/completions", "POST"),
        ("GET", "/chat/completions/", "POST"),
        ("PUT", "/v1/completions", "POST"),
        ("POST", "/v1/models", "GET"),
        ("DELETE", "/v1/models/bot", "GET"),
        ("POST", "/health", "GET"),
        ("PATCH", "/", "GET"),
    ],
)
def test_a_wrong_method_is_said_with_the_right_ones(
    serve: Serve, method: str, path: str, allowed: str
) -> None:
    response = serve().open(path, method=method)

    message = assert_openai_error(response, 405, "method_not_supported")
    assert f"({method} {path})" in message
    assert allowed in response.headers["Allow"]
    assert response.headers.getlist("Content-Type") == ["application/json"]


def test_a_method_that_nobody_knows_is_an_error_of_ours_too(serve: Serve) -> None:
    assert_openai_error(serve().open("/v1/models", method="BREW"), 405, "method_not_supported")


@pytest.mark.parametrize(
    "path", ["/", "/health", "/health/live", "/health/ready", "/v1", "/v1/", "/v1/models"]
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_probes_get_small_json(serve: Serve, path: str, method: str) -> None:
    response = serve().open(path, method=method)

    assert response.status_code == 200
    assert response.headers["Content-Type"] == "application/json"
    assert bool(response.data) is (method == "GET")


def test_a_head_request_to_a_post_route_has_no_body(serve: Serve) -> None:
    response = serve().head("/v1/chat/completions")

    assert response.status_code == 405
    assert response.data == b""
    assert response.headers["x-request-id"]
