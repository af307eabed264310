"""What operators can ask and delete, and who may."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from time import monotonic

import httpx
import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from opendify.access.keys import KeyRing
from opendify.app import create_app
from opendify.settings import Settings
from opendify.stores import StoredConversation
from opendify.stores.probe import StoreProbe
from tests.fakes.clocks import FakeClock
from tests.fakes.memory_store import MemoryStore
from tests.fakes.mock_dify import MockDify, refusal
from tests.fakes.openai_errors import assert_openai_error
from tests.fakes.settings import make_settings

NOW = 1_700_000_000.0
DAY = 86_400.0
ADMIN = {"Authorization": "Bearer sk-admin-5555555555"}
ANNA = {"Authorization": "Bearer sk-anna-0123456789"}
CLOSED = {"AUTH_MODE": "keys", "API_KEYS": "anna:sk-anna-0123456789", "ADMIN_API_KEY": "sk-admin-5555555555"}
READ_ONLY = ("GET", "/v1/conversation/mappings")
ROUTES = [
    READ_ONLY,
    ("GET", "/v1/conversation/recent"),
    ("POST", "/v1/conversation/cleanup"),
    ("GET", "/v1/conversation/database/info"),
    ("POST", "/v1/conversation/database/optimize"),
    ("DELETE", "/v1/conversation/mappings/c1"),
    ("DELETE", "/v1/conversation/users/anna:u1"),
]
OTHERS = [route for route in ROUTES if route != READ_ONLY]
all_routes = pytest.mark.parametrize(("method", "path"), ROUTES)
all_others = pytest.mark.parametrize(("method", "path"), OTHERS)


@dataclass
class Stand:
    """An app over a store with three conversations: two of `anna:u1`, one of `anna:u2`."""

    client: FlaskClient
    store: MemoryStore
    settings: Settings

    def ask(
        self, method: str, path: str, headers: dict[str, str] | None = None, **more: object
    ) -> TestResponse:
        return self.client.open(path, method=method, headers=ADMIN if headers is None else headers, **more)  # type: ignore[arg-type] # The callers' literals are right.

    def ids(self) -> set[str]:
        return {row.id for row in self.store.all()}


def stand(dify: MockDify, **environ: str) -> Stand:
    settings = make_settings({"bot": "app-bot", "other": "app-other"}, **(environ or CLOSED))
    bot, other = settings.models
    store = MemoryStore()
    for stored_id, app, user, age_days in (
        ("c1", bot, "anna:u1", 0),
        ("c2", other, "anna:u1", 10),
        ("c3", bot, "anna:u2", 40),
    ):
        row = StoredConversation(
            id=stored_id,
            scope=f"scope-{stored_id}",
            model=app.name,
            caller="anna",
            user=user,
            chat_id=f"chat-{stored_id}",
            app_fingerprint=app.fingerprint,
            conversation_id=f"dify-{stored_id}",
            message_id="message-1",
            turns=2,
            created_at=NOW - 50 * DAY,
            updated_at=NOW - age_days * DAY,
        )
        assert store.save(row, claim="test")
    service = create_app(settings, transport=dify.transport, store=store, now=lambda: NOW)
    return Stand(service.test_client(), store, settings)


@pytest.fixture
def closed(dify: MockDify) -> Stand:
    return stand(dify)


@all_routes
def test_without_a_key_nothing_is_told(closed: Stand, method: str, path: str) -> None:
    assert_openai_error(closed.ask(method, path, {}), 401, "invalid_api_key")
    assert closed.ids() == {"c1", "c2", "c3"}


@all_routes
def test_a_wrong_key_is_none(closed: Stand, method: str, path: str) -> None:
    response = closed.ask(method, path, {"api-key": "sk-wrong-1234567890"})

    assert_openai_error(response, 401, "invalid_api_key")


@all_routes
def test_an_ordinary_key_is_not_the_admin_s(closed: Stand, method: str, path: str) -> None:
    message = assert_openai_error(closed.ask(method, path, ANNA), 403, "permission_denied")

    assert "ADMIN_API_KEY" in message
    assert closed.ids() == {"c1", "c2", "c3"}


@all_routes
def test_the_admin_key_opens_every_route_under_every_form_of_its_path(
    closed: Stand, method: str, path: str
) -> None:
    for form in (path.removeprefix("/v1"), f"/openai{path}/"):
        response = closed.ask(method, form)
        assert response.status_code in {200, 404}
        if response.status_code == 404:
            assert_openai_error(response, 404, "conversation_not_found")


@all_routes
def test_the_admin_key_that_the_first_start_made_opens_them_and_the_ordinary_one_does_not(
    dify: MockDify, tmp_path: Path, method: str, path: str
) -> None:
    started = stand(dify, AUTH_MODE="keys", DATA_DIR=str(tmp_path))
    files = KeyRing(started.settings).first_key_files()
    ordinary, admin = ({"api-key": file.read_text().strip()} for file in files)

    assert_openai_error(started.ask(method, path, ordinary), 403, "permission_denied")
    assert started.ask(method, path, admin).status_code == 200


@all_routes
def test_with_keys_but_no_admin_s_nobody_is_the_admin(dify: MockDify, method: str, path: str) -> None:
    keyed = stand(dify, AUTH_MODE="keys", API_KEYS="anna:sk-anna-0123456789")

    assert_openai_error(keyed.ask(method, path, ANNA), 403, "permission_denied")
    assert_openai_error(keyed.ask(method, path, ADMIN), 401, "invalid_api_key")


@all_routes
def test_in_open_mode_the_admin_key_is_still_the_admin_s(dify: MockDify, method: str, path: str) -> None:
    opened = stand(dify, AUTH_MODE="open", ADMIN_API_KEY="sk-admin-5555555555")

    for headers in ({}, {"api-key": "anything"}):
        assert_openai_error(opened.ask(method, path, headers), 403, "permission_denied")
    assert opened.ask(method, path).status_code == 200


@all_others
def test_in_open_mode_without_an_admin_key_nothing_can_be_changed_or_looked_into(
    dify: MockDify, method: str, path: str
) -> None:
    opened = stand(dify, AUTH_MODE="open")

    for headers in ({}, {"api-key": "anything"}, ADMIN):
        assert_openai_error(opened.ask(method, path, headers), 403, "permission_denied")
    assert opened.ids() == {"c1", "c2", "c3"}


@pytest.mark.parametrize(
    "environ", [{"AUTH_MODE": "open"}, {"AUTH_MODE": "keys", "ENVIRONMENT": "development"}]
)
def test_in_open_mode_this_machine_may_count(dify: MockDify, environ: dict[str, str]) -> None:
    response = stand(dify, **environ).ask(*READ_ONLY, {})

    assert response.get_json()["mapping_count"] == 3


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Forwarded-For": "203.0.113.9"},
        {"X-Real-IP": "203.0.113.9"},
        {"Forwarded": "for=203.0.113.9"},
        {"Via": "1.1 proxy"},
        {"X-Forwarded-Host": "ai.example"},
        {"CF-Connecting-IP": "203.0.113.9"},
        {"Origin": "https://evil.example"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Host": "rebound.example"},
    ],
)
def test_in_open_mode_whoever_may_come_from_elsewhere_may_not_count(
    dify: MockDify, headers: dict[str, str]
) -> None:
    opened = stand(dify, AUTH_MODE="open")

    assert_openai_error(opened.ask(*READ_ONLY, headers), 403, "permission_denied")


@pytest.mark.parametrize("address", ["203.0.113.9", "10.0.0.7", "::ffff:203.0.113.9"])
def test_in_open_mode_another_machine_may_not_count(dify: MockDify, address: str) -> None:
    opened = stand(dify, AUTH_MODE="open")

    response = opened.ask(*READ_ONLY, {}, environ_overrides={"REMOTE_ADDR": address})

    assert_openai_error(response, 403, "permission_denied")


def test_the_counts_have_the_names_that_scripts_know(closed: Stand) -> None:
    assert closed.ask(*READ_ONLY).get_json() == {
        "mapping_count": 3,
        "oldest_mapping": NOW - 40 * DAY,
        "newest_mapping": NOW,
        "oldest_age_seconds": 40 * DAY,
        "newest_age_seconds": 0,
        "users": 2,
        "turns": 6,
        "by_model": {"bot": 2, "other": 1},
        "timestamp": NOW,
    }


def test_an_empty_store_has_no_ages(closed: Stand) -> None:
    for stored_id in closed.ids():
        closed.store.delete(stored_id)

    counts = closed.ask(*READ_ONLY).get_json()

    assert (counts["mapping_count"], counts["oldest_mapping"], counts["newest_age_seconds"]) == (
        0,
        None,
        None,
    )


def test_the_recent_ones_come_newest_first_with_whole_ids(closed: Stand) -> None:
    answer = closed.ask("GET", "/v1/conversation/recent?limit=2").get_json()

    assert [row["id"] for row in answer["recent_mappings"]] == ["c1", "c2"]
    assert answer["limit"] == 2
    assert answer["recent_mappings"][1] == {
        "id": "c2",
        "webui_chat_id": "chat-c2",
        "dify_conversation_id": "dify-c2",
        "dify_message_id": "message-1",
        "model": "other",
        "caller": "anna",
        "user": "anna:u1",
        "app_fingerprint": closed.settings.models[1].fingerprint,
        "turns": 2,
        "created_at": NOW - 50 * DAY,
        "last_used": NOW - 10 * DAY,
        "age_hours": 240,
    }


@pytest.mark.parametrize("limit", ["0", "-1", "1001", "ten", "", "1.5", "%D9%A1", "9" * 50])
def test_a_limit_that_is_none_is_named(closed: Stand, limit: str) -> None:
    response = closed.ask("GET", f"/v1/conversation/recent?limit={limit}")

    assert "1000" in assert_openai_error(response, 400, "invalid_value", param="limit")


@pytest.mark.parametrize(
    ("body", "left", "days"),
    [
        ({"max_age_days": 5}, {"c1"}, 5),
        ({"max_age_days": 10.5}, {"c1", "c2"}, 10.5),
        ({"max_age_days": 365}, {"c1", "c2", "c3"}, 365),
        ({}, {"c1", "c2"}, 30),
        ({"max_age_days": None}, {"c1", "c2"}, 30),
        (None, {"c1", "c2"}, 30),
    ],
)
def test_cleaning_up_forgets_what_was_not_used_for_so_long(
    closed: Stand, body: object, left: set[str], days: float
) -> None:
    answer = (
        closed.ask("POST", "/v1/conversation/cleanup", json=body)
        if body is not None
        else closed.ask("POST", "/v1/conversation/cleanup")
    )

    assert answer.get_json() == {"removed_count": 3 - len(left), "max_age_days": days, "timestamp": NOW}
    assert closed.ids() == left


@pytest.mark.parametrize("days", [-1, "5", True, [5], 1e9, {}])
def test_cleaning_up_by_no_number_of_days_forgets_nothing(closed: Stand, days: object) -> None:
    response = closed.ask("POST", "/v1/conversation/cleanup", json={"max_age_days": days})

    assert response.status_code == 400
    assert response.get_json()["error"]["param"] == "max_age_days"
    assert closed.ids() == {"c1", "c2", "c3"}


@pytest.mark.parametrize("body", ["[]", "nonsense", '{"max_age_days": NaN}', '{"max_age_days": Infinity}'])
def test_cleaning_up_by_what_is_no_json_forgets_nothing(closed: Stand, body: str) -> None:
    assert closed.ask("POST", "/v1/conversation/cleanup", data=body).status_code == 400
    assert closed.ids() == {"c1", "c2", "c3"}


def test_the_database_is_described_without_a_secret(closed: Stand) -> None:
    described = closed.ask("GET", "/v1/conversation/database/info").get_json()

    assert described["backend"] == "memory"
    assert described["database_size_bytes"] == described["size_bytes"] == 0
    assert described["mapping_count"] == 3


def test_optimizing_says_that_it_is_done(closed: Stand) -> None:
    assert closed.ask("POST", "/v1/conversation/database/optimize").get_json()["status"] == "success"


def test_one_conversation_is_forgotten_here_and_not_at_dify(closed: Stand, dify: MockDify) -> None:
    answer = closed.ask("DELETE", "/v1/conversation/mappings/c1").get_json()

    assert answer == {"id": "c1", "deleted": True, "deleted_at_dify": False}
    assert closed.ids() == {"c2", "c3"}
    assert dify.requests == []


def test_one_conversation_is_deleted_at_dify_with_its_own_key_and_user(closed: Stand, dify: MockDify) -> None:
    closed.ask("DELETE", "/v1/conversation/mappings/c2?dify=true")

    (request,) = dify.requests
    assert (request.method, request.url.path) == ("DELETE", "/v1/conversations/dify-c2")
    assert request.headers["Authorization"] == "Bearer app-other"
    assert dify.bodies("other") == [{"user": "anna:u1"}]
    assert closed.ids() == {"c1", "c3"}


def test_an_unknown_conversation_is_not_found(closed: Stand) -> None:
    response = closed.ask("DELETE", "/v1/conversation/mappings/nope")

    assert "'nope'" in assert_openai_error(response, 404, "conversation_not_found")


def test_a_flag_that_is_none_deletes_nothing(closed: Stand) -> None:
    response = closed.ask("DELETE", "/v1/conversation/mappings/c1?dify=perhaps")

    assert_openai_error(response, 400, "invalid_value", param="dify")
    assert closed.ids() == {"c1", "c2", "c3"}


def test_what_dify_does_not_delete_stays(closed: Stand, dify: MockDify) -> None:
    dify.answers["other"] = lambda _: refusal(500, "internal_server_error")

    response = closed.ask("DELETE", "/v1/conversation/mappings/c1?dify=true")

    assert_openai_error(response, 502, "upstream_error")
    assert "c1" in closed.ids()


@pytest.mark.parametrize("status", [200, 204, 404])
def test_what_dify_deletes_or_does_not_have_is_deleted(closed: Stand, dify: MockDify, status: int) -> None:
    dify.answers["other"] = lambda _: httpx.Response(status)

    assert closed.ask("DELETE", "/v1/conversation/mappings/c1?dify=true").status_code == 200
    assert "c1" not in closed.ids()


def test_all_of_a_user_are_forgotten_and_nobody_else_s(closed: Stand, dify: MockDify) -> None:
    answer = closed.ask("DELETE", "/v1/conversation/users/anna:u1").get_json()

    assert answer == {
        "user": "anna:u1",
        "complete": True,
        "deleted": 2,
        "deleted_at_dify": None,
        "failures": [],
    }
    assert closed.ids() == {"c3"}
    assert dify.requests == []


def test_a_person_can_be_named_as_a_key_s_holder_names_them(closed: Stand) -> None:
    answer = closed.ask("DELETE", "/v1/conversation/users/u1?key=anna").get_json()

    assert (answer["user"], answer["deleted"]) == ("anna:u1", 2)


def test_a_person_s_imported_chats_are_theirs(closed: Stand) -> None:
    for stored_id, user in (("imported", "u1"), ("of-the-holder", "anna"), ("of-another", "anna:anna:u2")):
        row = StoredConversation(
            id=stored_id,
            scope="s",
            model="bot",
            caller="anna",
            user=user,
            chat_id="",
            app_fingerprint="f",
            conversation_id="d",
        )
        assert closed.store.save(row, claim="test")

    counts = [
        closed.ask("DELETE", f"/v1/conversation/users/{user}?key=anna").get_json()["deleted"]
        for user in ("u1", "anna", "anna:u1")
    ]

    assert counts == [3, 0, 0]
    assert closed.ids() == {"c3", "of-the-holder", "of-another"}


@pytest.mark.parametrize("path", ["u1", "anna", "u1?key=ben", "anna:u", "%25"])
def test_a_part_of_a_name_is_nobody(closed: Stand, path: str) -> None:
    answer = closed.ask("DELETE", f"/v1/conversation/users/{path}").get_json()

    assert (answer["deleted"], answer["complete"]) == (0, True)
    assert closed.ids() == {"c1", "c2", "c3"}


def test_a_user_is_deleted_at_dify_with_each_app_s_key(closed: Stand, dify: MockDify) -> None:
    answer = closed.ask("DELETE", "/v1/conversation/users/anna:u1?dify=true").get_json()

    asked = {(request.url.path, request.headers["Authorization"]) for request in dify.requests}
    assert asked == {
        ("/v1/conversations/dify-c1", "Bearer app-bot"),
        ("/v1/conversations/dify-c2", "Bearer app-other"),
    }
    assert (answer["deleted"], answer["deleted_at_dify"]) == (2, 2)


def test_what_dify_kept_of_a_user_is_named_and_can_be_tried_again(closed: Stand, dify: MockDify) -> None:
    dify.answers["other"] = lambda request: (
        refusal(500, "internal_server_error") if "dify-c1" in request.url.path else httpx.Response(204)
    )

    first = closed.ask("DELETE", "/v1/conversation/users/anna:u1?dify=true").get_json()
    kept = closed.ids()
    dify.answers.clear()
    second = closed.ask("DELETE", "/v1/conversation/users/anna:u1?dify=true").get_json()

    assert (first["complete"], first["deleted"], first["deleted_at_dify"]) == (False, 1, 1)
    (failure,) = first["failures"]
    assert (failure["id"], failure["model"], failure["code"]) == ("c1", "bot", "upstream_error")
    assert kept == {"c1", "c3"}
    assert (second["complete"], second["deleted"]) == (True, 1)


def test_a_dify_that_is_down_is_asked_once_for_each_app(closed: Stand, dify: MockDify) -> None:
    def refuse(_: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    dify.answers["other"] = refuse
    bot = closed.store.find("c1")
    assert bot
    for number in range(5):
        closed.store.save(
            StoredConversation(
                id=f"more-{number}",
                scope="s",
                model="bot",
                caller="anna",
                user="anna:u1",
                chat_id="",
                app_fingerprint=bot.app_fingerprint,
                conversation_id=f"dify-more-{number}",
            ),
            claim="test",
        )

    answer = closed.ask("DELETE", "/v1/conversation/users/anna:u1?dify=true").get_json()

    assert len(answer["failures"]) == 7
    assert {failure["code"] for failure in answer["failures"]} == {"upstream_unreachable"}
    assert len(dify.requests) == 2


def test_a_conversation_whose_app_key_is_gone_is_said_to_be_so(closed: Stand, dify: MockDify) -> None:
    other = stand(dify, **CLOSED)
    other.store.save(
        StoredConversation(
            id="lost",
            scope="s",
            model="bot",
            caller="anna",
            user="anna:u9",
            chat_id="",
            app_fingerprint="another",
            conversation_id="dify-lost",
        ),
        claim="test",
    )

    response = other.ask("DELETE", "/v1/conversation/mappings/lost?dify=true")

    assert "'bot'" in assert_openai_error(response, 502, "upstream_app_error")


@all_routes
def test_a_store_that_is_down_is_said_to_be_so(closed: Stand, method: str, path: str) -> None:
    closed.store.is_down = True

    response = closed.ask(method, path)

    assert "store" in assert_openai_error(response, 503, "store_unavailable")
    assert response.headers["Retry-After"] == "5"


def test_no_answer_shows_a_text_or_a_fingerprint_of_one(closed: Stand) -> None:
    for method, path in ROUTES[:4]:
        text = closed.ask(method, path).get_data(as_text=True)
        assert "match_key" not in text
        assert 'recent"' not in text


def test_a_service_whose_store_answers_is_ready(closed: Stand) -> None:
    response = closed.ask("GET", "/health/ready", {})

    assert (response.status_code, response.get_json()) == (200, {"status": "ok", "store": "ok"})


def test_a_service_whose_store_is_down_is_alive_and_not_ready(closed: Stand) -> None:
    closed.store.is_down = True

    ready, live = (closed.ask("GET", f"/health/{kind}", {}) for kind in ("ready", "live"))

    assert (ready.status_code, ready.get_json()) == (503, {"status": "unready", "store": "unreachable"})
    assert live.status_code == 200


class CountingStore(MemoryStore):
    """Counts who asks; a `gate` that is shut holds them."""

    def __init__(self) -> None:
        super().__init__()
        self.pings = 0
        self.gate = Event()
        self.gate.set()

    def ping(self) -> None:
        self.pings += 1
        self.gate.wait(10)
        super().ping()


@pytest.fixture
def counting() -> Iterator[CountingStore]:
    store = CountingStore()
    yield store
    store.gate.set()


def test_many_probes_ask_the_store_once_a_second(counting: CountingStore) -> None:
    clock = FakeClock()
    probe = StoreProbe(counting, clock=clock)

    assert all(probe.is_reachable() for _ in range(100))
    assert counting.pings == 1
    clock.advance(1)
    assert probe.is_reachable()
    assert counting.pings == 2


def test_a_store_that_does_not_answer_is_waited_for_once_and_not_long(counting: CountingStore) -> None:
    clock = FakeClock()
    probe = StoreProbe(counting, clock=clock, wait_seconds=0.05)
    counting.gate.clear()

    assert not probe.is_reachable()
    clock.advance(5)
    began = monotonic()
    assert not any(probe.is_reachable() for _ in range(100))
    assert monotonic() - began < 1
    assert counting.pings == 1


def test_a_store_that_comes_back_is_seen(counting: CountingStore) -> None:
    clock = FakeClock()
    probe = StoreProbe(counting, clock=clock)
    counting.is_down = True

    assert not probe.is_reachable()
    counting.is_down = False
    clock.advance(1)
    assert probe.is_reachable()
