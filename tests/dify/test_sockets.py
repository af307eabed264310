"""A Dify that breaks off, lies or floods, on real sockets: each fault is the error that the table names."""

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass

import pytest

from opendify.dify.client import DifyClient
from opendify.dify.events import EventStream
from opendify.errors import DifyError, GatewayError
from opendify.settings import DIFY_TRANSPORTS, DifyApp, Settings
from opendify.translate.dify_request import DifyRequest
from opendify.wire import dify as dify_wire
from tests.fakes.frames import END, PING, WHOLE, message
from tests.fakes.live_dify import LiveDify, Script, Wire, live_dify
from tests.fakes.settings import make_settings
from tests.fakes.waiting import NewThreads, wait_until

REQUEST = DifyRequest("/chat-messages", "/chat-messages/{task_id}/stop", {"query": "Hi", "user": "user-1"})
NGINX_413 = b"<html><head><title>413 Request Entity Too Large</title></head></html>\r\n"


@dataclass
class Stand:
    dify: LiveDify
    settings: Settings
    client: DifyClient

    @property
    def app(self) -> DifyApp:
        return self.settings.models[0]

    def open(self, script: Script) -> EventStream:
        self.dify.answer = script
        return self.client.open_run(self.app, REQUEST)

    def read_all(self, script: Script) -> list[dify_wire.StreamEvent]:
        events: list[dify_wire.StreamEvent] = []
        with unfinished(self.open(script)) as stream:
            _read_on(stream, events)
        return events


def _read_on(stream: EventStream, events: list[dify_wire.StreamEvent] | None = None) -> None:
    while (read := stream.read(1.0)) is not None:
        if events is not None:
            events += read


@contextmanager
def unfinished(stream: EventStream) -> Iterator[EventStream]:
    """Closes a stream whose end nobody has seen."""
    try:
        yield stream
    finally:
        stream.close(whole=False)


@pytest.fixture(params=DIFY_TRANSPORTS)
def stand(request: pytest.FixtureRequest, new_run_threads: NewThreads) -> Iterator[Stand]:
    with live_dify() as dify:
        settings = make_settings(
            {"bot": {"api_key": "app-secret", "api_base": dify.base_url, "mode": "chat"}}
        )
        settings = dataclasses.replace(
            settings, dify_first_event_timeout_seconds=5.0, dify_transport=request.param
        )
        client = DifyClient(settings)
        with closing(client):
            yield Stand(dify, settings, client)
            assert wait_until(lambda: not new_run_threads()), "a connection is still in use"


def _cut_before_headers(wire: Wire) -> None:
    return


def _cut_in_headers(wire: Wire) -> None:
    wire.send(b"HTTP/1.1 200 OK\r\nContent-Ty")


def _not_http(wire: Wire) -> None:
    wire.send(b"SSH-2.0-OpenSSH_9.6\r\n\r\n")


def _reset_before_headers(wire: Wire) -> None:
    wire.reset()


def _cut_after_headers(wire: Wire) -> None:
    wire.head()


def _cut_in_event(wire: Wire) -> None:
    wire.head()
    wire.chunk(message("Hel")[:20])


def _cut_in_chunk(wire: Wire) -> None:
    wire.head()
    wire.send(b"ff\r\ndata: {")


def _reset_in_event(wire: Wire) -> None:
    wire.head()
    wire.chunk(message("Hel")[:20])
    wire.reset()


def _cut_after_text(wire: Wire) -> None:
    wire.head()
    wire.chunk(message("Hel"))


def _bad_chunk_size(wire: Wire) -> None:
    wire.head()
    wire.send(b"zz\r\nwhat\r\n")


def _wrong_encoding(wire: Wire) -> None:
    wire.head(Content_Encoding="gzip")
    wire.chunk(WHOLE)
    wire.end()


@pytest.mark.parametrize(
    "script",
    [
        _cut_before_headers,
        _cut_in_headers,
        _not_http,
        _reset_before_headers,
        _cut_after_headers,
        _cut_in_event,
        _cut_in_chunk,
        _reset_in_event,
        _cut_after_text,
        _bad_chunk_size,
        _wrong_encoding,
    ],
    ids=lambda script: script.__name__.strip("_"),
)
def test_a_connection_that_breaks_is_an_upstream_error(
    stand: Stand, new_run_threads: NewThreads, script: Script
) -> None:
    with pytest.raises(DifyError) as caught:
        stand.read_all(script)

    assert (caught.value.status, caught.value.code) == (502, "upstream_error")
    assert caught.value.headers() == {"x-should-retry": "false"}
    assert wait_until(lambda: not new_run_threads()), "a thread still watches the dead connection"


def _answer(status: int, content_type: str, body: bytes, **headers: str) -> Callable[[Wire], None]:
    def script(wire: Wire) -> None:
        wire.head(status, content_type, **headers)
        wire.chunk(body)
        wire.end()

    return script


@pytest.mark.parametrize(
    ("script", "status", "code", "headers"),
    [
        (
            _answer(200, "text/html", b"<html>login</html>"),
            502,
            "upstream_error",
            {"x-should-retry": "false"},
        ),
        (_answer(200, "application/json", b'{"a": 1}'), 502, "upstream_error", {"x-should-retry": "false"}),
        (
            _answer(302, "text/html", b"<a>", Location="/login"),
            502,
            "upstream_error",
            {"x-should-retry": "false"},
        ),
        (
            _answer(307, "text/html", b"<a>", Location="/v1/x"),
            502,
            "upstream_error",
            {"x-should-retry": "false"},
        ),
        (_answer(500, "text/html", b"<h1>oops"), 502, "upstream_error", {"x-should-retry": "false"}),
        (_answer(502, "text/html", b"<h1>nginx"), 502, "upstream_error", {"x-should-retry": "false"}),
        (_answer(504, "text/html", b"<h1>nginx"), 502, "upstream_error", {"x-should-retry": "false"}),
        (_answer(413, "text/html", NGINX_413), 413, "request_too_large", {}),
        (_answer(429, "text/html", b"slow down"), 429, "rate_limit_exceeded", {"Retry-After": "5"}),
        (_answer(429, "text/html", b"", Retry_After="7"), 429, "rate_limit_exceeded", {"Retry-After": "7"}),
        (_answer(401, "application/json", b"{}"), 502, "upstream_auth_error", {"x-should-retry": "false"}),
        (_answer(403, "text/html", b"<h1>WAF"), 502, "upstream_auth_error", {"x-should-retry": "false"}),
    ],
    ids=lambda value: str(value) if isinstance(value, int) else "",
)
def test_an_answer_that_is_no_stream_is_the_error_that_it_means(
    stand: Stand, new_run_threads: NewThreads, script: Script, status: int, code: str, headers: dict[str, str]
) -> None:
    with pytest.raises(GatewayError) as caught:
        stand.read_all(script)

    assert (caught.value.status, caught.value.code) == (status, code)
    assert caught.value.headers() == headers
    assert len(stand.dify.runs) == 1, "a redirect is not followed"
    assert wait_until(lambda: not new_run_threads())


def test_a_huge_error_body_is_cut_and_its_status_still_counts(stand: Stand) -> None:
    body = b'{"code": "unauthorized", "message": "' + b"x" * (8 << 20) + b'"}'

    with pytest.raises(GatewayError) as caught:
        stand.read_all(_answer(401, "application/json", body))

    assert caught.value.code == "upstream_auth_error"
    assert len(caught.value.message) <= 500


def test_an_error_body_without_an_end_is_not_read_to_the_end(stand: Stand) -> None:
    def flood(wire: Wire) -> None:
        wire.head(500, "text/html")
        while not wire.hold(0.001):
            wire.chunk(b"x" * 65_536)

    stand.settings = dataclasses.replace(stand.settings, dify_first_event_timeout_seconds=1.5)
    stand.client = DifyClient(stand.settings)
    with closing(stand.client), pytest.raises(GatewayError) as caught:
        stand.read_all(flood)

    assert (caught.value.status, caught.value.code) == (502, "upstream_error")


def test_a_wrong_content_type_with_good_events_is_read(stand: Stand) -> None:
    events = stand.read_all(_answer(200, "text/plain", WHOLE))

    assert len(events) == 3


def test_a_body_that_ends_early_but_cleanly_is_only_an_end(stand: Stand) -> None:
    assert len(stand.read_all(_answer(200, "text/event-stream", message("Hel") + END[:30]))) == 1


@pytest.mark.parametrize("begins", [False, True], ids=["before headers", "after headers"])
def test_a_silent_dify_times_out_and_is_let_go(
    stand: Stand, new_run_threads: NewThreads, begins: bool
) -> None:
    left: list[bool] = []

    def silent(wire: Wire) -> None:
        if begins:
            wire.head()
            wire.chunk(PING)
        left.append(wire.hold(3))

    stand.settings = dataclasses.replace(stand.settings, dify_first_event_timeout_seconds=0.05)
    stand.client = DifyClient(stand.settings)
    with closing(stand.client):
        with pytest.raises(GatewayError) as caught:
            stand.read_all(silent)

        assert (caught.value.status, caught.value.code) == (504, "upstream_timeout")
        assert caught.value.headers() == {"x-should-retry": "false"}
        assert wait_until(lambda: not new_run_threads(), 1.5), "a reader outlives its run"
    assert wait_until(lambda: left == [True])


def test_a_model_s_own_timeout_wins(stand: Stand) -> None:
    quick = dataclasses.replace(stand.app, timeout_seconds=0.05)
    stand.dify.answer = lambda wire: wire.hold(3)

    with unfinished(stand.client.open_run(quick, REQUEST)) as stream, pytest.raises(GatewayError) as caught:
        _read_on(stream)

    assert caught.value.code == "upstream_timeout"


def test_a_dify_that_is_not_there_is_unreachable_and_may_be_tried_again(
    stand: Stand, new_run_threads: NewThreads
) -> None:
    nowhere = dataclasses.replace(stand.app, api_base="http://127.0.0.1:9/v1")

    with unfinished(stand.client.open_run(nowhere, REQUEST)) as stream, pytest.raises(GatewayError) as caught:
        _read_on(stream)

    assert (caught.value.status, caught.value.code) == (503, "upstream_unreachable")
    assert caught.value.headers() == {"Retry-After": "5"}
    assert wait_until(lambda: not new_run_threads()), "a thread still watches a connection that never was"
