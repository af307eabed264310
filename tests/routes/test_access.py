"""Who gets what of every route: a route that has no row here fails the first test."""

import re
from collections.abc import Iterator, Mapping

import flask
import pytest
from werkzeug.test import TestResponse

from opendify.access.opening import open_configured_keys
from opendify.app import create_app
from opendify.settings import Settings
from tests.fakes.memory_keys import made_key
from tests.fakes.mock_dify import MockDify
from tests.fakes.openai_errors import assert_openai_error
from tests.fakes.settings import make_settings

NOW = 1_700_000_000.0
CHAT = {"model": "bot", "messages": [{"role": "user", "content": "Hi"}]}
ADMIN_CHANGE = {"max_age_days": 36_500}

# Everybody: no key is looked at. Caller: any good key. Admin: one with that right.
EVERYBODY = {"GET /", "GET /health", "GET /health/live", "GET /health/ready", "GET /openapi.json"}
CALLER: Mapping[str, object] = {
    "POST /v1/chat/completions": CHAT,
    "POST /v1/completions": {"model": "bot", "prompt": "Hi"},
    "POST /v1/responses": {"model": "bot", "input": "Hi"},
    "POST /v1/responses/input_tokens": {"model": "bot", "input": "Hi"},
    "GET /v1/responses/<response_id>": None,
    "DELETE /v1/responses/<response_id>": None,
    "POST /v1/responses/<response_id>/cancel": None,
    "GET /v1/responses/<response_id>/input_items": None,
    "GET /v1/models": None,
    "GET /v1/models/<path:model>": None,
    "POST /v1/audio/transcriptions": None,
    "POST /v1/audio/translations": None,
    "POST /v1/audio/speech": {"model": "bot", "input": "Hi", "voice": "alloy"},
    "GET /v1/dify/conversations": None,
    "GET /v1/dify/conversations/<conversation_id>/messages": None,
    "POST /v1/dify/conversations/<conversation_id>/name": {"name": "x"},
    "GET /v1/dify/messages/<message_id>/suggested": None,
    "POST /v1/dify/messages/<message_id>/feedback": {"rating": "like"},
    "GET /v1/dify/models/<path:model>/parameters": None,
    "GET /v1/dify/workflows/runs/<run_id>": None,
    "GET /v1/dify/workflows/runs/<run_id>/events": None,
    "POST /v1/files": None,
    "GET /v1/files": None,
    "GET /v1/files/<file_id>": None,
    "GET /v1/files/<file_id>/content": None,
    "DELETE /v1/files/<file_id>": None,
}
ADMIN: Mapping[str, object] = {
    "GET /metrics": None,
    "GET /v1/conversation/mappings": None,
    "GET /v1/conversation/recent": None,
    "POST /v1/conversation/cleanup": ADMIN_CHANGE,
    "GET /v1/conversation/database/info": None,
    "POST /v1/conversation/database/optimize": None,
    "DELETE /v1/conversation/mappings/<stored_id>": None,
    "DELETE /v1/conversation/users/<path:user>": None,
}
PLACED = {*EVERYBODY, *CALLER, *ADMIN}
# Those that name no model.
FORMS = {"POST /v1/audio/transcriptions", "POST /v1/audio/translations"}
OF_THINGS = (
    "/v1/files",
    "/v1/responses/<",
    "/v1/dify/conversations",
    "/v1/dify/messages",
    "/v1/dify/workflows",
)
_OF_THINGS = {route for route in CALLER if any(each in route for each in OF_THINGS)}
WITHOUT_MODEL = _OF_THINGS | FORMS | {"GET /v1/models"}
# Where a good key may still meet what is not there, or an app that cannot.
MAY_FAIL = (*OF_THINGS, "/v1/audio")
# The health probe of compose files: an empty list.
OPEN_TO_PROBES = {"GET /v1/models"}

KINDS: Mapping[str, Mapping[str, object]] = {
    "expired": {"expires_at": NOW - 1},
    "revoked": {"revoked_at": NOW - 1},
    "wrong model": {"models": ("other-*",)},
    "wrong address": {"addresses": ("192.0.2.0/24",)},
    "ordinary": {},
    "admin": {"is_admin": True},
}


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return make_settings(
        AUTH_MODE="keys",
        API_KEYS="env:sk-of-the-environment",
        ADMIN_API_KEY="sk-admin-of-the-environment",
        FAILED_LOGINS_PER_MINUTE="0",
        DATA_DIR=str(tmp_path_factory.mktemp("data")),
    )


@pytest.fixture(scope="module")
def app(settings: Settings) -> Iterator[flask.Flask]:
    app = create_app(settings, transport=MockDify().transport, now=lambda: NOW)
    yield app
    app.extensions["opendify"].close()


@pytest.fixture(scope="module")
def keys(settings: Settings) -> Mapping[str, str]:
    """A key of each kind."""
    texts = {"wrong": made_key("eeeeeeeeeeee")[0], "environment": "sk-of-the-environment"}
    store = open_configured_keys(settings)
    assert store
    for number, (kind, rights) in enumerate(KINDS.items()):
        texts[kind], stored = made_key(f"{number:012x}", **rights)
        assert store.add(stored)
    store.close()
    return texts


def routes(app: flask.Flask) -> set[str]:
    found = set()
    for rule in app.url_map.iter_rules():
        methods = (rule.methods or set()) - {"HEAD", "OPTIONS"}
        found |= {f"{method} {rule.rule}" for method in methods}
    return found


def ask(app: flask.Flask, route: str, key: str | None) -> TestResponse:
    method, rule = route.split(" ", 1)
    path = re.sub("<[a-z_]+>", "00000000-0000-4000-8000-000000000000", rule)
    path = re.sub("<[a-z_]+>", "none", path.replace("<path:model>", "bot").replace("<path:user>", "nobody"))
    body = {**CALLER, **ADMIN}.get(route)
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    return app.test_client().open(path, method=method, headers=headers, json=body or {})


def test_every_route_has_its_place(app: flask.Flask) -> None:
    assert routes(app) == PLACED


@pytest.mark.parametrize("route", sorted(EVERYBODY))
def test_what_is_everybodys_needs_no_key(app: flask.Flask, route: str) -> None:
    assert ask(app, route, None).status_code == 200
    assert ask(app, route, "sk-wrong-1234567890").status_code == 200


@pytest.mark.parametrize("route", sorted({*CALLER, *ADMIN}))
def test_without_a_key_a_stranger_gets_nothing(app: flask.Flask, route: str) -> None:
    answer = ask(app, route, None)

    if route in OPEN_TO_PROBES:
        assert answer.json == {"object": "list", "data": []}
    else:
        assert_openai_error(answer, 401, "invalid_api_key")


@pytest.mark.parametrize("route", sorted({*CALLER, *ADMIN}))
@pytest.mark.parametrize("kind", ["wrong", "expired", "revoked"])
def test_a_key_that_is_not_good_gets_nothing(
    app: flask.Flask, keys: Mapping[str, str], route: str, kind: str
) -> None:
    message = assert_openai_error(ask(app, route, keys[kind]), 401, "invalid_api_key")
    assert keys[kind] not in message


@pytest.mark.parametrize("route", sorted({*CALLER, *ADMIN}))
def test_a_key_from_a_wrong_address_gets_nothing(
    app: flask.Flask, keys: Mapping[str, str], route: str
) -> None:
    assert_openai_error(ask(app, route, keys["wrong address"]), 403, "permission_denied")


@pytest.mark.parametrize("route", sorted(set(CALLER) - WITHOUT_MODEL))
def test_a_model_of_others_is_not_there(app: flask.Flask, keys: Mapping[str, str], route: str) -> None:
    message = assert_openai_error(ask(app, route, keys["wrong model"]), 404, "model_not_found", param="model")
    assert message == "The model 'bot' does not exist or you do not have access to it."


def test_models_of_others_are_not_listed(app: flask.Flask, keys: Mapping[str, str]) -> None:
    assert ask(app, "GET /v1/models", keys["wrong model"]).json == {"object": "list", "data": []}


@pytest.mark.parametrize("route", sorted(CALLER))
@pytest.mark.parametrize("kind", ["ordinary", "admin", "environment"])
def test_a_good_key_is_answered(app: flask.Flask, keys: Mapping[str, str], route: str, kind: str) -> None:
    answer = ask(app, route, keys[kind])

    # There is no such file, and the app does not speak; but that is no matter of the key.
    expected = {200, 400, 404, 415} if any(each in route for each in MAY_FAIL) else {200}
    assert answer.status_code in expected


@pytest.mark.parametrize("route", sorted(ADMIN))
@pytest.mark.parametrize("kind", ["ordinary", "wrong model", "environment"])
def test_what_is_the_admins_needs_the_admins_key(
    app: flask.Flask, keys: Mapping[str, str], route: str, kind: str
) -> None:
    assert_openai_error(ask(app, route, keys[kind]), 403, "permission_denied")


@pytest.mark.parametrize("route", sorted(ADMIN))
def test_an_admins_key_opens_what_is_the_admins(
    app: flask.Flask, keys: Mapping[str, str], route: str
) -> None:
    for key in (keys["admin"], "sk-admin-of-the-environment"):
        answer = ask(app, route, key)
        if "mappings/" in route:
            assert_openai_error(answer, 404, "conversation_not_found")
        else:
            assert answer.status_code == 200
