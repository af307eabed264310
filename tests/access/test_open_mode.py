"""Open mode refuses what a web page could forge."""

import pytest
from werkzeug.datastructures import Headers

from opendify.access.keys import KeyRing
from tests.conftest import Serve
from tests.fakes.openai_errors import assert_openai_error
from tests.fakes.settings import make_settings

LOOPBACK = {"SERVER_HOST": "127.0.0.1"}
CHAT = {"model": "bot", "messages": [{"role": "user", "content": "Hi"}]}


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer anything"},
        {"api-key": "-"},
        {"x-api-key": "密".encode().decode("latin-1")},
    ],
)
def test_any_key_and_none_are_accepted(serve: Serve, headers: dict[str, str]) -> None:
    client = serve()

    assert client.get("/v1/models", headers=headers).get_json()["data"]
    assert client.post("/v1/chat/completions", json=CHAT, headers=headers).status_code == 200


def test_callers_are_told_apart_by_whatever_key_they_show() -> None:
    keys = KeyRing(make_settings())

    ids = [
        keys.authenticate(Headers(headers)).id
        for headers in ({}, {"api-key": "a"}, {"api-key": "b"}, {"api-key": "a"})
    ]

    assert len(set(ids)) == 3
    assert ids[1] == ids[3]


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": ""},
        {"Origin": "http://localhost:8080", "Host": "localhost:5000"},
        {"Origin": "https://evil.example", "Authorization": "Bearer x"},
        {"Origin": "https://localhost.evil.example", "Host": "localhost"},
        {"Sec-Fetch-Site": "cross-site"},
    ],
)
def test_a_foreign_page_is_refused(serve: Serve, headers: dict[str, str]) -> None:
    client = serve()

    for response in (
        client.post("/v1/chat/completions", json=CHAT, headers=headers),
        client.get("/v1/models", headers=headers),
        client.get("/v1/models/bot", headers=headers),
    ):
        assert "CORS_ORIGINS" in assert_openai_error(response, 403, "permission_denied")


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://localhost:5000", "Host": "localhost:5000", "Sec-Fetch-Site": "same-origin"},
        {"Origin": "http://LOCALHOST:5000", "Host": "localhost:5000"},
        {"Sec-Fetch-Site": "none"},
        {"Sec-Fetch-Site": "same-origin"},
    ],
)
def test_our_own_page_and_a_typed_address_are_not(serve: Serve, headers: dict[str, str]) -> None:
    assert serve().get("/v1/models", headers=headers).status_code == 200


def test_a_listed_page_is_not_refused_and_others_still_are(serve: Serve) -> None:
    client = serve(CORS_ORIGINS="https://chat.example")

    listed = {"Origin": "https://chat.example", "Sec-Fetch-Site": "cross-site"}
    assert client.get("/v1/models", headers=listed).status_code == 200
    assert_openai_error(
        client.get("/v1/models", headers={"Origin": "https://evil.example"}), 403, "permission_denied"
    )
    # A page's simple request need not carry an origin.
    anonymous = client.get("/v1/models", headers={"Sec-Fetch-Site": "cross-site"})
    assert_openai_error(anonymous, 403, "permission_denied")


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:5000", "127.0.0.1:5000", "[::1]:5000", "127.1.2.3", "LocalHost"]
)
def test_bound_to_loopback_it_answers_under_this_machine_s_own_names(serve: Serve, host: str) -> None:
    assert serve(**LOOPBACK).get("/v1/models", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:5000", "localhost.evil.example", "10.0.0.1", "[fe80::1]:5000"]
)
def test_bound_to_loopback_it_refuses_other_names_as_after_a_rebinding(serve: Serve, host: str) -> None:
    response = serve(**LOOPBACK).get("/v1/models", headers={"Host": host})

    assert "ALLOWED_HOSTS" in assert_openai_error(response, 403, "permission_denied")


@pytest.mark.parametrize("host", ["my.host", "my.host:8443", "MY.Host"])
def test_allowed_hosts_are_answered_too(serve: Serve, host: str) -> None:
    client = serve(**LOOPBACK, ALLOWED_HOSTS="my.host")

    assert client.get("/v1/models", headers={"Host": host}).status_code == 200


def test_bound_to_the_world_every_name_is_its_own(serve: Serve) -> None:
    assert serve(SERVER_HOST="0.0.0.0").get("/v1/models", headers={"Host": "ai.example"}).status_code == 200


def test_where_keys_are_asked_for_a_page_with_a_key_may_call(serve: Serve) -> None:
    client = serve(AUTH_MODE="keys", API_KEYS="sk-anna-0123456789")
    headers = {"Origin": "https://any.example", "Sec-Fetch-Site": "cross-site", "Host": "ai.example"}

    response = client.get("/v1/models", headers={**headers, "Authorization": "Bearer sk-anna-0123456789"})

    assert response.status_code == 200
