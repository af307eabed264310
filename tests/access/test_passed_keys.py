"""Pass-through mode: the caller's key is that of a Dify app, which then answers every model."""

import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from opendify.access.opening import ACCESS
from opendify.access.passed_keys import GOOD_SECONDS, PassedKeys
from opendify.app import create_app
from opendify.errors import DifyAuthError
from opendify.settings import DifyApp, SettingsError, load_settings
from tests.fakes.clocks import FakeClock
from tests.fakes.mock_dify import MockDify, refusal
from tests.fakes.openai_errors import assert_openai_error
from tests.fakes.settings import make_settings

KEY = "app-canary0123456789abcdef"
OTHER = "app-other0123456789abcdef"
WRONG = "app-wrong0123456789abcdef"
HELLO = {"role": "user", "content": "Hi"}


class Service:
    def __init__(self, folder: Path, **environ: str) -> None:
        self.clock, self.now, self.dify = FakeClock(), FakeClock(1_700_000_000.0), MockDify()
        self.good = {KEY, OTHER, "app-bot"}
        self.dify.answers["info"] = self._tell
        told = {"AUTH_MODE": "passthrough", "DATA_DIR": str(folder), **environ}
        self.app = create_app(
            make_settings(**told), transport=self.dify.transport, clock=self.clock, now=self.now
        )
        self.client: FlaskClient = self.app.test_client()

    def _tell(self, request: httpx.Request) -> httpx.Response:
        key = request.headers["Authorization"].removeprefix("Bearer ")
        if key not in self.good:
            return refusal(401, "unauthorized", "Access token is invalid")
        return httpx.Response(200, json={"name": "An app", "mode": "chat"})

    def chat(
        self, key: str, *messages: dict[str, str], model: str = "gpt-4o", streams: bool = False
    ) -> TestResponse:
        body = {"model": model, "messages": [*messages, HELLO], "stream": streams}
        headers = {"Authorization": f"Bearer {key}"}
        return self.client.post("/v1/chat/completions", json=body, headers=headers, buffered=True)

    def models(self, key: str) -> list[str]:
        page = self.client.get("/v1/models", headers={"Authorization": f"Bearer {key}"}).get_json()
        return [model["id"] for model in page["data"]]

    @property
    def keys_used(self) -> set[str]:
        return {request.headers["Authorization"].removeprefix("Bearer ") for request in self.dify.requests}


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Service]]:
    made: list[Service] = []

    def service(**environ: str) -> Service:
        made.append(Service(tmp_path, **environ))
        return made[-1]

    yield service
    for each in made:
        each.app.extensions["opendify"].close()
        each.app.extensions[ACCESS].close()


@pytest.mark.parametrize("model", ["gpt-4o", "bot", "whatever"])
def test_the_app_of_the_key_answers_whatever_the_model(make: Callable[..., Service], model: str) -> None:
    service = make()

    answer = service.chat(KEY, model=model)

    assert answer.status_code == 200
    assert answer.get_json()["model"] == model
    assert service.keys_used == {KEY}
    assert service.models(KEY) == ["dify"]


def test_unless_asked_for_no_key_is_passed_through(make: Callable[..., Service]) -> None:
    service = make(AUTH_MODE="keys", API_KEYS="sk-anna-0123456789")

    assert_openai_error(service.chat(KEY), 401, "invalid_api_key")

    assert service.keys_used == set()


def test_keys_of_the_service_open_its_table_beside_it(make: Callable[..., Service]) -> None:
    service = make(API_KEYS="anna:sk-anna-0123456789")

    assert service.models("sk-anna-0123456789") == ["bot"]
    assert service.chat("sk-anna-0123456789", model="bot").status_code == 200

    assert service.keys_used == {"app-bot"}


@pytest.mark.parametrize("key", ["sk-live-0123456789abcdef", "app-", "app-a/../b", f"app-{'x' * 200}"])
def test_what_is_no_app_key_never_leaves(make: Callable[..., Service], key: str) -> None:
    service = make()

    assert_openai_error(service.chat(key), 401, "invalid_api_key")

    assert service.keys_used == set()


def test_wrong_keys_are_slowed_and_dify_is_spared(make: Callable[..., Service]) -> None:
    service = make(FAILED_LOGINS_PER_MINUTE="3")
    assert service.chat(KEY).status_code == 200
    for number in range(3):
        assert_openai_error(service.chat(f"{WRONG}{number}"), 401, "invalid_api_key")

    assert_openai_error(service.chat(f"{WRONG}3"), 429, "rate_limit_exceeded")
    assert f"{WRONG}3" not in service.keys_used
    assert service.chat(KEY).status_code == 200, "who is known is never slowed"
    service.now.advance(60)
    assert service.chat(OTHER).status_code == 200


def test_one_wrong_key_is_asked_about_once(make: Callable[..., Service]) -> None:
    service = make()

    for _ in range(5):
        assert_openai_error(service.chat(WRONG), 401, "invalid_api_key")

    assert len(service.dify.requests) == 1


def test_a_key_that_was_taken_back_at_dify_is_good_no_more(make: Callable[..., Service]) -> None:
    service = make()
    assert service.chat(KEY).status_code == 200
    service.good.remove(KEY)

    service.clock.advance(GOOD_SECONDS)

    assert_openai_error(service.chat(KEY), 401, "invalid_api_key")


@pytest.mark.parametrize("streams", [False, True])
def test_a_key_that_dify_takes_back_meanwhile_is_the_callers_matter(
    make: Callable[..., Service], streams: bool
) -> None:
    service = make()
    assert service.chat(KEY).status_code == 200
    service.good.remove(KEY)
    service.dify.answers["run"] = lambda _: refusal(401, "unauthorized", "Access token is invalid")

    assert_openai_error(service.chat(KEY, streams=streams), 401, "invalid_api_key")

    asked = len(service.dify.requests)
    assert_openai_error(service.chat(KEY), 401, "invalid_api_key")
    assert len(service.dify.requests) == asked, "it is known to be wrong"


def test_a_key_of_the_service_is_not_to_blame_where_dify_refuses_that_of_its_app(
    make: Callable[..., Service],
) -> None:
    service = make(API_KEYS="anna:sk-anna-0123456789")
    service.dify.answers["run"] = lambda _: refusal(401, "unauthorized", "Access token is invalid")

    assert_openai_error(service.chat("sk-anna-0123456789", model="bot"), 502, "upstream_auth_error")


def test_each_passed_key_has_the_limits_of_all(make: Callable[..., Service]) -> None:
    service = make(PASSTHROUGH_REQUESTS_PER_MINUTE="2", API_KEYS="anna:sk-anna-0123456789")
    first = service.chat(KEY)
    assert first.headers["x-ratelimit-remaining-requests"] == "1"
    assert service.chat(KEY).status_code == 200

    assert_openai_error(service.chat(KEY), 429, "rate_limit_exceeded")
    assert service.chat(OTHER).status_code == 200
    assert "x-ratelimit-limit-requests" not in service.chat("sk-anna-0123456789", model="bot").headers


def test_while_dify_is_away_nobody_is_taken_for_a_guesser(make: Callable[..., Service]) -> None:
    service = make(FAILED_LOGINS_PER_MINUTE="1")

    def away(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("no", request=request)

    service.dify.answers["info"] = away
    for _ in range(3):
        assert_openai_error(service.chat(KEY), 503, "upstream_unreachable")


def test_conversations_are_each_callers_own(make: Callable[..., Service]) -> None:
    service = make()
    answer = service.chat(KEY).get_json()["choices"][0]["message"]["content"]
    said = {"role": "assistant", "content": answer}

    service.chat(OTHER, HELLO, said)
    service.chat(KEY, HELLO, said)

    first, stranger, same = service.dify.bodies("run")
    assert "conversation_id" not in stranger or not stranger["conversation_id"]
    assert same["conversation_id"]
    assert first["user"] == same["user"] != stranger["user"]


def test_no_key_is_written_anywhere(
    make: Callable[..., Service], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    service = make(ADMIN_API_KEY="sk-admin-0123456789")
    with caplog.at_level(logging.DEBUG):
        service.chat(KEY)
        service.chat(f"{WRONG}-canary")
        service.dify.answers["run"] = lambda _: refusal(500, "internal", "no")
        service.chat(KEY)
    page = service.client.get("/metrics", headers={"Authorization": "Bearer sk-admin-0123456789"})

    written = b"".join(file.read_bytes() for file in tmp_path.rglob("*") if file.is_file())
    told = caplog.text + json.dumps([str(record.__dict__) for record in caplog.records]) + page.text
    assert b"access refused" in written
    for key in (KEY, WRONG):
        assert key.encode() not in written
        assert key not in told
    assert 'key="open"' in page.text
    assert not list(tmp_path.glob("*-key")), "nobody needs the keys of a first start"


def test_keys_open_neither_admin_routes_nor_metrics(make: Callable[..., Service]) -> None:
    service = make()

    for path in ("/metrics", "/v1/conversation/mappings"):
        answer = service.client.get(path, headers={"Authorization": f"Bearer {KEY}"})
        assert_openai_error(answer, 403, "permission_denied")


def test_strangers_cannot_fill_the_memory() -> None:
    def ask(app: DifyApp) -> None:
        if "good" not in app.api_key:
            raise DifyAuthError("no")

    keys = PassedKeys(
        DifyApp(name="dify", api_key="", api_base="http://dify.test/v1"), ask, clock=FakeClock()
    )
    for number in range(3_000):
        assert keys.find(f"app-good{number}", lambda: True)
        assert keys.find(f"app-bad{number}", lambda: True) is None

    assert len(keys) <= 2_000
    assert keys.find("app-good2999", lambda: False), "the latest are known"
    assert keys.find("app-good0", lambda: False) is None


def test_it_needs_no_table_but_a_dify() -> None:
    settings = load_settings({"AUTH_MODE": "passthrough", "DIFY_API_BASE": "http://dify.test/v1"})

    assert (settings.models, settings.model_names) == ((), ("dify",))
    with pytest.raises(SettingsError, match="AUTH_MODE: passthrough needs DIFY_API_BASE"):
        load_settings({"AUTH_MODE": "passthrough"})
    with pytest.raises(SettingsError, match="may be called 'dify'"):
        make_settings({"dify": "app-bot"}, AUTH_MODE="passthrough")
