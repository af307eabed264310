"""How strangers are turned away: by address, for a minute, and never those whose key is good."""

import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from opendify.access.opening import ACCESS, open_configured_keys
from opendify.app import create_app
from opendify.settings import Settings
from opendify.stores.keys import StoredKey
from tests.fakes.clocks import FakeClock
from tests.fakes.memory_keys import made_key
from tests.fakes.metrics_page import Counted
from tests.fakes.mock_dify import MockDify
from tests.fakes.openai_errors import assert_openai_error
from tests.fakes.settings import make_settings

NOW = 1_700_000_000.0
GOOD = "sk-good-0123456789"
CHAT = {"model": "bot", "messages": [{"role": "user", "content": "Hi"}]}


class Service:
    def __init__(self, folder: Path, **environ: str) -> None:
        self.now, self.clock, self.dify, self.folder = FakeClock(NOW), FakeClock(), MockDify(), folder
        told = {"AUTH_MODE": "keys", "API_KEYS": f"good:{GOOD}", "DATA_DIR": str(folder), **environ}
        self.settings: Settings = make_settings(**told)
        self.app = create_app(self.settings, transport=self.dify.transport, clock=self.clock, now=self.now)
        self.client: FlaskClient = self.app.test_client()

    def add(self, **rights: object) -> str:
        text, key = made_key(**rights)  # type: ignore[arg-type] # By name.
        self.put(key)
        return text

    def put(self, key: StoredKey) -> None:
        store = open_configured_keys(self.settings)
        assert store
        store.add(key)
        store.close()

    def models(self, key: str, address: str = "192.0.2.1", **headers: str) -> TestResponse:
        told = {"Authorization": f"Bearer {key}", **headers}
        return self.client.get(
            "/v1/models/bot", headers=told, environ_base={"REMOTE_ADDR": address}, buffered=True
        )

    def chat(self, key: str, **fields: object) -> TestResponse:
        headers = {"Authorization": f"Bearer {key}"}
        told = {**CHAT, **fields}
        # Buffered: read to its end, and closed, as a server does.
        return self.client.post("/v1/chat/completions", headers=headers, json=told, buffered=True)

    def upload(self, key: str) -> TestResponse:
        form = {"purpose": "user_data", "file": (io.BytesIO(b"hello"), "a.txt")}
        headers = {"Authorization": f"Bearer {key}"}
        return self.client.post("/v1/files", headers=headers, data=form, buffered=True)

    @property
    def audited(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in (self.folder / "audit.log").read_text().splitlines()]


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


def test_who_guesses_is_slowed_and_who_knows_is_not(make: Callable[..., Service]) -> None:
    service = make(FAILED_LOGINS_PER_MINUTE="3")
    wrong = Counted("opendify_refused_keys_total", reason="wrong_key")
    slowed = Counted("opendify_refused_keys_total", reason="too_many_failures")
    rejected = {
        reason: Counted("opendify_rejected_total", reason=reason) for reason in ("wrong_keys", "rate_limited")
    }
    for _ in range(3):
        assert_openai_error(service.models("sk-wrong-1234567890"), 401, "invalid_api_key")

    refused = service.models("sk-wrong-1234567890")
    assert_openai_error(refused, 429, "rate_limit_exceeded")
    assert 1 <= int(refused.headers["Retry-After"]) <= 60
    assert service.models(GOOD).status_code == 200
    assert service.models("sk-wrong-1234567890", "192.0.2.2").status_code == 401
    service.now.advance(60)
    assert service.models("sk-wrong-1234567890").status_code == 401
    assert (wrong.more, slowed.more) == (5, 1)
    assert (rejected["wrong_keys"].more, rejected["rate_limited"].more) == (1, 0)


def test_one_subscriber_has_not_a_try_for_each_of_his_addresses(make: Callable[..., Service]) -> None:
    service = make(FAILED_LOGINS_PER_MINUTE="1")

    assert service.models("sk-wrong", "2a02:1:2:3::1").status_code == 401
    assert service.models("sk-wrong", "2a02:1:2:3:ffff::2").status_code == 429
    assert service.models("sk-wrong", "2a02:1:2:4::1").status_code == 401


def test_a_stranger_cannot_lay_his_tries_at_anothers_door(make: Callable[..., Service]) -> None:
    service = make(FAILED_LOGINS_PER_MINUTE="1", TRUSTED_PROXIES="10.0.0.0/8")

    assert service.models("sk-wrong", "10.0.0.1", **{"X-Forwarded-For": "192.0.2.1"}).status_code == 401
    assert service.models("sk-wrong", "10.0.0.1", **{"X-Forwarded-For": "192.0.2.1"}).status_code == 429
    assert service.models("sk-wrong", "10.0.0.1", **{"X-Forwarded-For": "192.0.2.9"}).status_code == 401
    assert service.models("sk-wrong", "198.51.100.1", **{"X-Forwarded-For": "192.0.2.7"}).status_code == 401
    assert service.models("sk-wrong", "198.51.100.1", **{"X-Forwarded-For": "192.0.2.8"}).status_code == 429


def test_a_key_is_for_its_addresses_alone_whatever_headers_say(make: Callable[..., Service]) -> None:
    service = make(TRUSTED_PROXIES="10.0.0.1")
    key = service.add(addresses=("192.0.2.0/24", "2001:db8::/32"))

    assert service.models(key, "192.0.2.77").status_code == 200
    assert service.models(key, "::ffff:192.0.2.77").status_code == 200
    assert service.models(key, "2001:db8::7").status_code == 200
    assert service.models(key, "10.0.0.1", **{"X-Forwarded-For": "192.0.2.7"}).status_code == 200
    for address, claims in (("198.51.100.1", "192.0.2.7"), ("10.0.0.2", "192.0.2.7"), ("10.0.0.1", "")):
        headers = {"X-Forwarded-For": claims, "X-Real-IP": "192.0.2.7", "Forwarded": "for=192.0.2.7"}
        assert_openai_error(service.models(key, address, **headers), 403, "permission_denied")


def test_every_refusal_is_audited_without_the_key(make: Callable[..., Service]) -> None:
    service = make(FAILED_LOGINS_PER_MINUTE="2")
    wrong = "sk-wrong-canary-0123456789"
    for _ in range(9):
        service.models(wrong)
    service.models(service.add(id="aaaaaaaaaaaa", revoked_at=NOW), "192.0.2.2")
    service.models(service.add(id="bbbbbbbbbbbb", addresses=("10.0.0.0/8",)), "192.0.2.3")
    service.client.get(
        "/v1/conversation/recent",
        headers={"Authorization": f"Bearer {GOOD}"},
        environ_base={"REMOTE_ADDR": "192.0.2.4"},
    )

    told = [(each["reason"], each["address"], each.get("caller")) for each in service.audited]
    assert told == [
        ("wrong key", "192.0.2.1", None),
        ("wrong key", "192.0.2.1", None),
        ("too many failures", "192.0.2.1", None),
        ("revoked", "192.0.2.2", "caller-aaaaaaaaaaaa"),
        ("wrong address", "192.0.2.3", "caller-bbbbbbbbbbbb"),
        ("no admin key", "192.0.2.4", "good"),
    ]
    assert "canary" not in (service.folder / "audit.log").read_text()


def test_limits_are_told_on_answers_and_kept(make: Callable[..., Service]) -> None:
    service = make()
    key = service.add(requests_per_minute=2)

    first = service.chat(key)
    assert first.status_code == 200
    assert first.headers["x-ratelimit-remaining-requests"] == "1"
    assert service.chat(key, stream=True).headers["x-ratelimit-remaining-requests"] == "0"
    refused = service.chat(key)
    assert_openai_error(refused, 429, "rate_limit_exceeded")
    assert refused.headers["x-ratelimit-limit-requests"] == "2"
    assert len(service.dify.asked("run")) == 2
    assert service.models(key).status_code == 200, "looking costs nothing"


def test_uploads_count_like_chats(make: Callable[..., Service]) -> None:
    service = make()
    key = service.add(requests_per_minute=1)

    assert service.upload(key).status_code == 200
    assert_openai_error(service.upload(key), 429, "rate_limit_exceeded")
    assert_openai_error(service.chat(key), 429, "rate_limit_exceeded")


@pytest.mark.parametrize("stream", [False, True])
def test_tokens_of_an_answer_are_counted(make: Callable[..., Service], stream: bool) -> None:
    service = make()
    key = service.add(tokens_per_minute=1)

    answer = service.chat(key, stream=stream)
    assert answer.status_code == 200
    assert answer.data
    assert_openai_error(service.chat(key), 429, "rate_limit_exceeded")
    service.now.advance(61)
    assert service.chat(key).status_code == 200


def test_a_place_is_given_back_when_the_answer_is_closed(make: Callable[..., Service]) -> None:
    service = make()
    key = service.add(concurrency=1)

    for _ in range(2):
        open_answer = service.client.post(
            "/v1/chat/completions",
            headers={"Authorization": f"Bearer {key}"},
            json={**CHAT, "stream": True},
            buffered=False,
        )
        next(iter(open_answer.response))
        assert_openai_error(service.chat(key), 429, "rate_limit_exceeded")
        open_answer.close()
    assert service.chat(key, model="nope").status_code == 404
    assert service.chat(key).status_code == 200


def test_who_names_nobody_is_the_keys_user(make: Callable[..., Service]) -> None:
    service = make()
    key = service.add(default_user="anna")

    service.chat(key)
    service.chat(key, user="ben")

    assert [body["user"] for body in service.dify.bodies("run")] == [
        "caller-0123456789ab:anna",
        "caller-0123456789ab:ben",
    ]


def test_fallbacks_stay_within_the_keys_models(tmp_path: Path) -> None:
    def fail(request: httpx.Request) -> httpx.Response:
        asked.append(request.headers["Authorization"])
        raise httpx.ConnectError("no")

    asked: list[str] = []
    table = {"a": {"api_key": "app-a", "fallbacks": ["b"]}, "b": "app-b"}
    service = Service(tmp_path)
    service.dify.answers["run"] = fail
    settings = make_settings(table, AUTH_MODE="keys", API_KEYS=f"good:{GOOD}", DATA_DIR=str(tmp_path))
    app = create_app(settings, transport=service.dify.transport, now=service.now)
    for holder in (service.add(models=("a",)), GOOD):
        headers = {"Authorization": f"Bearer {holder}"}
        app.test_client().post("/v1/chat/completions", headers=headers, json={**CHAT, "model": "a"})
    app.extensions["opendify"].close()
    service.app.extensions["opendify"].close()

    assert asked == ["Bearer app-a", "Bearer app-a", "Bearer app-b"]
