"""What Dify is asked about an app, when, and what is believed meanwhile."""

import contextlib
import dataclasses
import threading
from collections.abc import Callable

import httpx
import pytest

from opendify.dify.client import DifyClient
from opendify.dify.discovery import Discovery, read_parameters
from opendify.errors import DifyAppError, DifyAuthError, DifyError, DifyUnreachable, GatewayError, RateLimited
from opendify.records import AppProfile, InputField
from opendify.settings import AppMode, DifyApp
from tests.fakes.clocks import FakeClock
from tests.fakes.mock_dify import MockDify, refusal
from tests.fakes.settings import make_settings
from tests.fakes.waiting import wait_until

TTL_SECONDS = 600.0
FORM = [
    {"text-input": {"label": "Name", "variable": "name", "required": True, "max_length": 48, "default": ""}},
    {"select": {"variable": "lang", "required": False, "options": ["en", "de"], "default": "en"}},
    {"external_data_tool": {"variable": "weather", "required": True}},
]


class Stand:
    def __init__(self, dify: MockDify, mode: AppMode | None = None) -> None:
        settings = make_settings({"bot": {"api_key": "app-bot"}})
        self.dify = dify
        self.clock = FakeClock()
        self.app: DifyApp = dataclasses.replace(settings.models[0], mode=mode)
        client = DifyClient(settings, transport=dify.transport)
        self.discovery = Discovery(client, ttl_seconds=TTL_SECONDS, clock=self.clock)

    def profile(self) -> AppProfile:
        return self.discovery.profile(self.app)

    def asks(self) -> int:
        return len(self.dify.asked("info"))

    def break_dify(self) -> None:
        self.dify.answers["info"] = self.dify.answers["parameters"] = refuse_connection

    def mend_dify(self) -> None:
        del self.dify.answers["info"], self.dify.answers["parameters"]


def refuse_connection(request: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("refused", request=request)


def info(**about: object) -> Callable[[httpx.Request], httpx.Response]:
    return lambda _: httpx.Response(200, json=about, headers={"X-Version": "1.9.2"})


@pytest.mark.parametrize("mode", ["chat", "agent-chat", "agent", "advanced-chat", "completion", "workflow"])
def test_the_mode_is_what_info_says(dify: MockDify, mode: AppMode) -> None:
    dify.answers["info"] = info(name="Bot", description="Helps", tags=[], mode=mode, author_name="x")

    profile = Stand(dify).profile()

    assert (profile.mode, profile.name, profile.description) == (mode, "Bot", "Helps")
    assert profile.version == "1.9.2"
    assert dify.asked("stop") == []
    assert dify.asked("info")[0].headers["Authorization"] == "Bearer app-bot"


@pytest.mark.parametrize(
    ("route", "mode"),
    [("/chat-messages/", "chat"), ("/completion-messages/", "completion"), ("/workflows/tasks/", "workflow")],
)
def test_a_server_without_info_mode_is_probed_with_stops_that_stop_nothing(
    dify: MockDify, route: str, mode: str
) -> None:
    def stop(request: httpx.Request) -> httpx.Response:
        if route in request.url.path:
            return httpx.Response(200, json={"result": "success"})
        return refusal(400, "app_unavailable")

    dify.answers |= {"info": info(name="Old", description="", tags=[]), "stop": stop}
    stand = Stand(dify)

    assert stand.profile().mode == mode
    stand.profile()
    tasks = {request.url.path.split("/")[-2] for request in dify.asked("stop")}
    assert len(tasks) == 1, "probed once, with one random task"
    assert all(body["user"] for body in dify.bodies("stop"))
    assert not dify.asked("run")


def test_a_mode_that_nobody_knows_yet_is_probed(dify: MockDify) -> None:
    dify.answers["info"] = info(name="New", mode="telepathy")

    assert Stand(dify).profile().mode == "chat"


def test_an_app_that_fits_no_probe_says_what_the_operator_can_do(dify: MockDify) -> None:
    dify.answers |= {"info": info(name="Odd"), "stop": lambda _: refusal(400, "app_unavailable")}

    with pytest.raises(DifyAppError, match=r"'bot'.*`mode`"):
        Stand(dify).profile()


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (lambda _: httpx.Response(502, html="<h1>nginx"), "upstream_error"),
        (lambda _: refusal(429, "too_many_requests"), "rate_limit_exceeded"),
        (lambda _: refusal(401, "unauthorized"), "upstream_auth_error"),
        (refuse_connection, "upstream_unreachable"),
    ],
    ids=["5xx", "429", "401", "down"],
)
def test_a_probe_that_fails_is_not_taken_for_a_no(
    dify: MockDify, answer: Callable[[httpx.Request], httpx.Response], code: str
) -> None:
    dify.answers |= {"info": info(name="Old"), "stop": answer}

    with pytest.raises(GatewayError) as caught:
        Stand(dify).profile()

    assert caught.value.code == code


def test_a_configured_mode_wins(dify: MockDify) -> None:
    dify.answers["info"] = info(name="Bot", mode="chat")

    profile = Stand(dify, mode="workflow").profile()

    assert (profile.mode, profile.name) == ("workflow", "Bot")


def test_a_configured_mode_is_enough_where_info_fails(dify: MockDify) -> None:
    dify.answers["info"] = lambda _: httpx.Response(404, html="<h1>Not Found")

    profile = Stand(dify, mode="workflow").profile()

    assert profile.mode == "workflow"
    assert profile.form == ()


@pytest.mark.parametrize(
    "answer",
    [
        lambda _: refusal(400, "app_unavailable"),
        lambda _: httpx.Response(500, html="<h1>oops"),
        lambda _: httpx.Response(200, text="no json"),
        lambda _: httpx.Response(200, json=["a list"]),
    ],
    ids=["unpublished", "5xx", "not JSON", "wrong shape"],
)
def test_without_parameters_no_input_is_known_and_none_is_checked(
    dify: MockDify, answer: Callable[[httpx.Request], httpx.Response]
) -> None:
    dify.answers["parameters"] = answer

    profile = Stand(dify).profile()

    assert profile.mode == "chat"
    assert profile.form is None
    assert profile.takes_files is None


@pytest.mark.parametrize(
    ("status", "kind"), [(401, DifyAuthError), (403, DifyAuthError), (429, RateLimited), (500, DifyError)]
)
def test_what_dify_refuses_is_said_as_it_is(dify: MockDify, status: int, kind: type[GatewayError]) -> None:
    dify.answers["info"] = lambda _: refusal(status, "whatever")

    with pytest.raises(kind):
        Stand(dify).profile()


@pytest.mark.parametrize("body", [b"<html>", b"\xff", b"[1]", b'"text"'])
def test_an_info_that_is_no_object_is_no_crash(dify: MockDify, body: bytes) -> None:
    dify.answers["info"] = lambda _: httpx.Response(200, content=body)

    is_json = body in {b"[1]", b'"text"'}
    expected = contextlib.nullcontext() if is_json else pytest.raises(DifyError)
    with expected:
        assert Stand(dify).profile().mode == "chat"


def test_an_answer_is_kept_until_its_time_is_over(dify: MockDify) -> None:
    stand = Stand(dify)
    first = stand.profile()
    stand.clock.advance(TTL_SECONDS - 1)

    assert stand.profile() is first
    assert stand.asks() == 1

    stand.clock.advance(2)
    stand.profile()
    assert stand.asks() == 2


def test_an_old_answer_serves_on_while_dify_is_down(dify: MockDify) -> None:
    stand = Stand(dify)
    first = stand.profile()
    stand.break_dify()
    stand.clock.advance(TTL_SECONDS + 1)

    assert stand.profile() == first
    assert stand.profile() == first
    assert stand.asks() == 2, "not asked again with every request"


def test_a_dify_that_is_back_is_asked_again_soon(dify: MockDify) -> None:
    stand = Stand(dify)
    stand.profile()
    stand.break_dify()
    stand.clock.advance(TTL_SECONDS + 1)
    stand.profile()
    stand.mend_dify()
    dify.answers["info"] = info(name="New", mode="workflow")

    stand.clock.advance(60)

    assert stand.profile().mode == "workflow", "an old answer must not count as fresh for a whole TTL"


def test_nothing_known_and_dify_down_is_the_error(dify: MockDify) -> None:
    stand = Stand(dify)
    stand.break_dify()

    with pytest.raises(DifyUnreachable):
        stand.profile()
    assert stand.discovery.known_profile(stand.app) is None


def test_a_failure_is_shared_for_a_moment_and_then_asked_again(dify: MockDify) -> None:
    stand = Stand(dify)
    stand.break_dify()
    for _ in range(3):
        with pytest.raises(DifyUnreachable):
            stand.profile()
    assert stand.asks() == 1

    stand.mend_dify()
    stand.clock.advance(2)

    assert stand.profile().mode == "chat"


def test_many_requests_ask_one_question(dify: MockDify) -> None:
    go_on = threading.Event()

    def slow(_: httpx.Request) -> httpx.Response:
        go_on.wait(2)
        return httpx.Response(200, json={"mode": "workflow"})

    dify.answers["info"] = slow
    stand = Stand(dify)
    modes: list[str] = []
    threads = [threading.Thread(target=lambda: modes.append(stand.profile().mode)) for _ in range(20)]
    for thread in threads:
        thread.start()
    assert wait_until(stand.asks)
    assert stand.discovery.known_profile(stand.app) is None, "never waits"
    go_on.set()
    for thread in threads:
        thread.join()

    assert modes == ["workflow"] * 20
    assert stand.asks() == 1


def test_many_requests_share_one_failure(dify: MockDify) -> None:
    go_on = threading.Event()

    def slow(request: httpx.Request) -> httpx.Response:
        go_on.wait(2)
        return refuse_connection(request)

    dify.answers["info"] = slow
    stand = Stand(dify)
    codes: list[str | None] = []

    def ask() -> None:
        try:
            stand.profile()
        except GatewayError as error:
            codes.append(error.code)

    threads = [threading.Thread(target=ask) for _ in range(20)]
    for thread in threads:
        thread.start()
    assert wait_until(stand.asks)
    go_on.set()
    for thread in threads:
        thread.join()

    assert codes == ["upstream_unreachable"] * 20
    assert stand.asks() == 1


def test_a_shared_failure_does_not_grow_with_every_request(dify: MockDify) -> None:
    stand = Stand(dify)
    stand.break_dify()

    def frames() -> int:
        with pytest.raises(DifyUnreachable) as caught:
            stand.profile()
        return len(list(caught.traceback))

    first = [frames() for _ in range(2)][-1]
    assert [frames() for _ in range(20)][-1] == first


def test_one_app_s_question_does_not_hold_up_another_app(dify: MockDify) -> None:
    go_on = threading.Event()

    def slow_for_bot(request: httpx.Request) -> httpx.Response:
        if request.headers["Authorization"] == "Bearer app-bot":
            go_on.wait(2)
        return httpx.Response(200, json={"mode": "chat"})

    dify.answers["info"] = slow_for_bot
    stand = Stand(dify)
    waiting = threading.Thread(target=stand.profile)
    waiting.start()
    assert wait_until(stand.asks)

    other = dataclasses.replace(stand.app, name="other", api_key="app-other")
    assert stand.discovery.profile(other).mode == "chat"
    assert waiting.is_alive()
    go_on.set()
    waiting.join()


def test_what_is_forgotten_is_asked_again_and_still_known(dify: MockDify) -> None:
    stand = Stand(dify)
    stand.profile()
    dify.answers["info"] = info(name="Bot", mode="workflow")

    stand.discovery.forget(stand.app)

    assert stand.discovery.known_profile(stand.app) is not None
    assert stand.profile().mode == "workflow"


def test_the_form_is_read_with_its_types_limits_and_options() -> None:
    profile = read_parameters(AppProfile("chat"), {"user_input_form": FORM, "opening_statement": "Hi!"})

    assert profile.form == (
        InputField("name", "text-input", required=True, max_length=48),
        InputField("lang", "select", options=("en", "de"), default="en"),
        InputField("weather", "external_data_tool"),
    )
    assert profile.opening_statement == "Hi!"


@pytest.mark.parametrize(
    ("switch", "is_moderated"),
    [
        ({"enabled": True, "type": "keywords", "configs": []}, True),
        ({"enabled": False}, False),
        ({}, False),
        (None, None),
    ],
)
def test_whether_an_app_s_output_is_moderated_is_read(switch: object, is_moderated: bool | None) -> None:
    parameters = {"sensitive_word_avoidance": switch}

    assert read_parameters(AppProfile("chat"), parameters).is_moderated is is_moderated


@pytest.mark.parametrize(
    ("file_upload", "takes_files"),
    [
        ({"enabled": True, "allowed_file_types": ["image"]}, True),
        ({"enabled": False}, False),
        ({"image": {"enabled": True, "number_limits": 3}}, True),
        ({"image": {"enabled": False}}, False),
        ({"enabled": False, "image": {"enabled": True}}, True),
        (None, None),
        ("odd", None),
        ({"image": None}, False),
    ],
)
def test_whether_an_app_takes_files_is_read_in_old_and_new_forms(
    file_upload: object, takes_files: bool | None
) -> None:
    assert read_parameters(AppProfile("chat"), {"file_upload": file_upload}).takes_files is takes_files


@pytest.mark.parametrize(
    "parameters",
    [
        None,
        [],
        {"user_input_form": None},
        {"user_input_form": [None, 1, {"text-input": None}, {"text-input": {"variable": 7}}]},
        {"user_input_form": {"text-input": {}}},
        {"suggested_questions": "why?", "opening_statement": None},
        {"user_input_form": [{"select": {"variable": "a", "options": None, "max_length": "x"}}]},
    ],
)
def test_no_shape_of_parameters_is_a_crash(parameters: object) -> None:
    assert read_parameters(AppProfile("chat"), parameters).mode == "chat"
