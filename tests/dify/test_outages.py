"""A Dify that is away: what is tried again, what is not, and when it is left alone."""

import itertools
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field

import httpx
import pytest

from opendify.dify.client import DifyClient
from opendify.dify.discovery import Discovery
from opendify.errors import (
    DifyCircuitOpen,
    DifyError,
    DifyGatewayFailed,
    DifyTimeout,
    DifyUnreachable,
    GatewayError,
)
from opendify.settings import DifyApp
from opendify.translate.dify_request import DifyRequest
from tests.fakes.clocks import FakeClock
from tests.fakes.files import SentFile
from tests.fakes.frames import message
from tests.fakes.mock_dify import Answer, MockDify, refusal, stream
from tests.fakes.settings import make_settings
from tests.fakes.waiting import wait_until

RUN = DifyRequest("/chat-messages", "/chat-messages/{task_id}/stop", {"query": "Hi", "user": "user-1"})
PICTURE = SentFile("a.png", "image/png", b"png")
Call = Callable[["Stand"], object]


@dataclass
class Stand:
    dify: MockDify
    client: DifyClient
    app: DifyApp
    clock: FakeClock
    slept: list[float] = field(default_factory=list)

    def ask(self) -> object:
        return self.client.call(self.app, "GET", "/info")

    def upload(self) -> object:
        return self.client.upload(self.app, PICTURE, "user-1")

    def run(self) -> object:
        """A whole run; raises what it fails with."""
        events = self.client.open_run(self.app, RUN)
        try:
            while (read := events.read(1.0)) is not None:
                del read
        finally:
            events.close(whole=True)
        return None

    def fails(self, *calls: Call) -> list[type[GatewayError]]:
        return [kind for call in calls for kind in [self._failure_of(call)]]

    def _failure_of(self, call: Call) -> type[GatewayError]:
        with pytest.raises(GatewayError) as caught:
            call(self)
        return type(caught.value)


def make_stand(dify: MockDify, **environ: str) -> Stand:
    clock = FakeClock()
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        clock.advance(seconds)

    settings = make_settings(**{"DIFY_CONNECT_RETRIES": "2", **environ})
    client = DifyClient(settings, transport=dify.transport, clock=clock, sleep=sleep)
    return Stand(dify, client, settings.models[0], clock, slept)


@pytest.fixture
def stand(dify: MockDify) -> Iterator[Stand]:
    here = make_stand(dify)
    with closing(here.client):
        yield here


def away(request: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("no", request=request)


def away_first(times: int, then: Answer) -> Answer:
    calls = itertools.count(1)
    return lambda request: away(request) if next(calls) <= times else then(request)


@pytest.mark.parametrize(
    ("name", "call", "good"),
    [
        ("info", Stand.ask, lambda _: httpx.Response(200, json={})),
        ("upload", Stand.upload, lambda _: httpx.Response(201, json={"id": "upload-1"})),
    ],
    ids=["a question", "an upload"],
)
def test_a_short_call_that_reached_nobody_is_tried_again(
    dify: MockDify, stand: Stand, name: str, call: Call, good: Answer
) -> None:
    dify.answers[name] = away_first(2, good)

    call(stand)

    assert len(dify.asked(name)) == 3
    first, second = stand.slept
    assert 0.125 <= first <= 0.375 < 0.37501 <= second <= 1.125


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (lambda request: _raise(httpx.ReadTimeout("slow", request=request)), DifyTimeout),
        (lambda request: _raise(httpx.ReadError("cut", request=request)), DifyError),
        (lambda _: httpx.Response(502, html="<h1>nginx"), DifyError),
        (lambda _: refusal(500, "unknown"), DifyError),
    ],
    ids=["silent", "broken off", "a proxy's 502", "a 500"],
)
def test_what_may_have_reached_dify_is_not_tried_again(
    dify: MockDify, stand: Stand, answer: Answer, kind: type[GatewayError]
) -> None:
    dify.answers["info"] = answer

    with pytest.raises(kind):
        stand.ask()

    assert len(dify.asked("info")) == 1


def _raise(error: Exception) -> httpx.Response:
    raise error


def test_a_dify_that_stays_away_is_the_client_s_error_in_the_end(dify: MockDify, stand: Stand) -> None:
    dify.answers["info"] = away

    assert stand.fails(Stand.ask) == [DifyUnreachable]
    assert len(dify.asked("info")) == 3


def test_connecting_that_takes_all_the_time_is_not_tried_again(dify: MockDify, stand: Stand) -> None:
    def nothing_answers(request: httpx.Request) -> httpx.Response:
        stand.clock.advance(5)
        raise httpx.ConnectTimeout("no", request=request)

    dify.answers["info"] = nothing_answers

    assert stand.fails(Stand.ask) == [DifyUnreachable]
    assert len(dify.asked("info")) == 1


def test_runs_and_short_calls_open_the_circuit_together(dify: MockDify) -> None:
    stand = make_stand(dify, DIFY_CONNECT_RETRIES="0")
    dify.answers |= {"info": away, "run": away, "upload": away}

    failures = stand.fails(Stand.ask, Stand.run, Stand.upload, Stand.run, Stand.ask, Stand.ask, Stand.run)

    assert failures == [DifyUnreachable] * 5 + [DifyCircuitOpen] * 2
    assert len(dify.requests) == 5


@pytest.mark.parametrize("status", [502, 503, 504])
@pytest.mark.parametrize(("name", "call"), [("run", Stand.run), ("info", Stand.ask)])
def test_a_proxy_that_finds_no_dify_opens_it(
    dify: MockDify, stand: Stand, status: int, name: str, call: Call
) -> None:
    dify.answers[name] = lambda _: httpx.Response(status, html="<h1>nginx")

    assert stand.fails(*[call] * 6) == [*[DifyGatewayFailed] * 5, DifyCircuitOpen]


@pytest.mark.parametrize(
    "answer",
    [
        lambda _: refusal(400, "completion_request_error", "the model is on fire"),
        lambda _: refusal(401, "unauthorized"),
        lambda _: refusal(429, "too_many_requests"),
        lambda _: refusal(500, "internal_server_error"),
        lambda _: refusal(502, "plugin_runtime_error"),
        lambda request: _raise(httpx.ReadTimeout("the model is slow", request=request)),
        lambda _: stream(b'data: {"event": "error", "code": "invalid_param", "message": "no"}\n\n'),
        lambda _: stream(b"data: {"),
    ],
    ids=["400", "401", "429", "500", "Dify's own 502", "timeout", "error event", "cut"],
)
def test_what_dify_or_a_model_says_never_opens_it(dify: MockDify, stand: Stand, answer: Answer) -> None:
    dify.answers["run"] = answer

    for _ in range(8):
        try:
            stand.run()
        except DifyCircuitOpen:
            pytest.fail("it opened")
        except GatewayError:
            pass


def test_a_run_never_is_the_probe(dify: MockDify, stand: Stand) -> None:
    dify.answers |= {"run": away, "info": away}
    stand.fails(*[Stand.run] * 5)
    runs_before = len(dify.asked("run"))
    stand.clock.advance(5)

    assert stand.fails(Stand.run) == [DifyCircuitOpen]

    assert len(dify.asked("run")) == runs_before
    assert len(dify.asked("info")) == 1, "one is enough to see that Dify is still away"


@pytest.mark.parametrize("call", [Stand.run, Stand.upload], ids=["a run", "an upload"])
def test_a_dify_that_is_back_is_found_by_one_short_call(dify: MockDify, stand: Stand, call: Call) -> None:
    dify.answers["run"] = away
    stand.fails(*[Stand.run] * 5)
    del dify.answers["run"]
    stand.clock.advance(5)

    call(stand)
    call(stand)

    assert len(dify.asked("info")) == 1


def test_a_proxy_that_still_finds_no_dify_keeps_runs_away(dify: MockDify, stand: Stand) -> None:
    dify.answers |= dict.fromkeys(("run", "info"), lambda _: httpx.Response(503, html="<h1>nginx"))
    stand.fails(*[Stand.run] * 5)
    stand.clock.advance(5)

    assert stand.fails(Stand.run) == [DifyCircuitOpen]
    assert len(dify.asked("run")) == 5


def test_a_run_that_goes_on_is_stopped_whatever_the_circuit_says(dify: MockDify, stand: Stand) -> None:
    goes_on = threading.Event()

    def never_ends() -> Iterator[bytes]:
        yield message("Hel")
        goes_on.wait(10)

    dify.answers["run"] = lambda _: httpx.Response(
        200, headers={"Content-Type": "text/event-stream"}, content=never_ends()
    )
    events = stand.client.open_run(stand.app, RUN)
    assert wait_until(lambda: events.read(0.1))
    dify.answers["info"] = away
    stand.fails(Stand.ask, Stand.ask)

    events.close(whole=False)

    assert wait_until(lambda: dify.asked("stop"), 5)
    goes_on.set()


def test_apps_of_one_server_share_a_circuit_and_servers_do_not(dify: MockDify) -> None:
    settings = make_settings(
        {
            "one": "app-one",
            "two": "app-two",
            "elsewhere": {"api_key": "app-three", "api_base": "http://other.test/v1"},
        },
        DIFY_CIRCUIT_FAILURES="1",
    )
    dify.answers["info"] = lambda request: (
        httpx.Response(200, json={}) if request.url.host == "other.test" else away(request)
    )
    one, two, elsewhere = settings.models
    with closing(DifyClient(settings, transport=dify.transport)) as client:
        with pytest.raises(DifyUnreachable):
            client.call(one, "GET", "/info")
        with pytest.raises(DifyCircuitOpen):
            client.call(two, "GET", "/info")
        client.call(elsewhere, "GET", "/info")


def test_a_question_that_opened_the_circuit_is_no_answer_to_those_who_come_later(dify: MockDify) -> None:
    stand = make_stand(dify, DIFY_CIRCUIT_FAILURES="1", DIFY_CONNECT_RETRIES="0")
    dify.answers["info"] = away
    discovery = Discovery(stand.client, ttl_seconds=60, clock=stand.clock)

    def look(stand: Stand) -> object:
        return discovery.profile(stand.app)

    assert stand.fails(look, look) == [DifyUnreachable, DifyCircuitOpen]


def test_what_is_known_of_an_app_serves_on_while_the_circuit_is_open(dify: MockDify, stand: Stand) -> None:
    discovery = Discovery(stand.client, ttl_seconds=600, clock=stand.clock)
    known = discovery.profile(stand.app)
    dify.answers["run"] = away
    stand.fails(*[Stand.run] * 5)
    stand.clock.advance(700)
    dify.answers["info"] = away
    stand.fails(Stand.ask)
    asked = len(dify.requests)

    assert discovery.profile(stand.app) == known
    assert len(dify.requests) == asked


def test_an_app_is_not_taken_for_one_without_a_form_because_dify_went_away_in_between(
    dify: MockDify, stand: Stand
) -> None:
    discovery = Discovery(stand.client, ttl_seconds=600, clock=stand.clock)
    dify.answers["parameters"] = away
    with pytest.raises(DifyUnreachable):
        discovery.profile(stand.app)
    del dify.answers["parameters"]
    stand.clock.advance(2)

    assert discovery.profile(stand.app).form == ()
