"""The one line that a request leaves."""

import logging
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import httpx
import pytest

from opendify.telemetry.logs import REQUEST_LOGGER
from opendify.telemetry.requests import ObservedRequests, at_end
from tests.conftest import Serve
from tests.fakes.frames import END, message
from tests.fakes.mock_dify import MockDify, refusal, stream

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

CHAT = {"model": "bot", "messages": [{"role": "user", "content": "Hi"}]}


class Lines(logging.Handler):
    """What the requests' logger was told."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    def only(self) -> dict[str, object]:
        """The values of the single line."""
        (record,) = self.records
        standard = vars(logging.makeLogRecord({}))
        return {name: value for name, value in vars(record).items() if name not in {*standard, "message"}}


@pytest.fixture
def lines() -> Iterator[Lines]:
    logger, lines = logging.getLogger(REQUEST_LOGGER), Lines()
    level = logger.level
    logger.addHandler(lines)
    logger.setLevel(logging.INFO)
    yield lines
    logger.removeHandler(lines)
    logger.setLevel(level)


@pytest.mark.parametrize("streams", [False, True], ids=["whole", "streamed"])
def test_a_chat_that_ends_well(serve: Serve, dify: MockDify, lines: Lines, streams: bool) -> None:
    client = serve(API_KEYS="anna:sk-anna-00000000", AUTH_MODE="keys")
    key = {"Authorization": "Bearer sk-anna-00000000"}

    answer = client.post("/v1/chat/completions", json={**CHAT, "stream": streams}, headers=key)
    answer.get_data()
    answer.close()

    line = lines.only()
    for moment in ("first_byte_seconds", "seconds"):
        assert isinstance(line.pop(moment), float)
    expected: dict[str, object] = {
        "request_id": answer.headers["x-request-id"],
        "method": "POST",
        "route": "/v1/chat/completions",
        "status": 200,
        "outcome": "whole",
        "key": "anna",
        "model": "bot",
        "mode": "chat",
        "prompt_tokens": 1,
        "completion_tokens": 2,
    }
    assert line == (expected | {"stream": True} if streams else expected)


def test_a_chat_that_dify_refuses(serve: Serve, dify: MockDify, lines: Lines) -> None:
    dify.answers["run"] = lambda _: refusal(401, "unauthorized")

    serve().post("/v1/chat/completions", json=CHAT).close()

    line = lines.only()
    assert (line["status"], line["outcome"], line["error"]) == (502, "failed", "upstream_auth_error")


def test_a_stream_that_breaks_off(serve: Serve, dify: MockDify, lines: Lines) -> None:
    dify.answers["run"] = lambda _: stream(message("half"))

    answer = serve().post("/v1/chat/completions", json={**CHAT, "stream": True})
    answer.get_data()
    answer.close()

    line = lines.only()
    assert (line["status"], line["outcome"], line["error"]) == (200, "failed", "upstream_error")


def test_a_stream_that_its_client_leaves(serve: Serve, dify: MockDify, lines: Lines) -> None:
    has_left = threading.Event()

    def pieces() -> Iterator[bytes]:
        yield message("one ")
        has_left.wait(10)
        yield END

    dify.answers["run"] = lambda _: stream(pieces())

    answer = serve().post("/v1/chat/completions", json={**CHAT, "stream": True}, buffered=False)
    next(answer.iter_encoded())
    answer.close()
    has_left.set()

    assert lines.only()["outcome"] == "client_gone"


def test_a_repeat(serve: Serve, dify: MockDify, lines: Lines) -> None:
    client = serve()
    for _ in range(2):
        client.post("/v1/chat/completions", json=CHAT, headers={"Idempotency-Key": "once"}).close()

    assert [vars(record).get("repeat") for record in lines.records] == [None, True]


def test_another_model_that_answers(serve: Serve, dify: MockDify, lines: Lines) -> None:
    def run(request: httpx.Request) -> httpx.Response:
        if request.headers["Authorization"] == "Bearer app-one":
            raise httpx.ConnectError("nobody there")
        return stream()

    dify.answers["run"] = run
    models: dict[str, object] = {"one": {"api_key": "app-one", "fallbacks": ["two"]}, "two": "app-two"}
    serve(models).post("/v1/chat/completions", json={**CHAT, "model": "one"}).close()

    line = lines.only()
    assert (line["model"], line["answered_by"], line["outcome"]) == ("one", "two", "whole")


def test_a_path_and_a_model_that_are_not_ours_leave_no_trace(serve: Serve, lines: Lines) -> None:
    client = serve()
    client.get("/v1/persons/anna?key=sk-secret").close()
    client.post("/v1/chat/completions", json={**CHAT, "model": "sk-secret"}).close()

    for record in lines.records:
        assert "sk-secret" not in str(vars(record))
        assert "anna" not in str(vars(record))


class Answer:
    """An app's answer whose end may fail."""

    def __init__(self, fails: bool) -> None:
        self._fails = fails

    def __iter__(self) -> Iterator[bytes]:
        yield b"la"

    def close(self) -> None:
        if self._fails:
            raise KeyError


@pytest.mark.parametrize("fails", [False, True])
def test_what_was_taken_is_given_back_once_when_the_answer_is_closed_even_if_that_fails(fails: bool) -> None:
    given_back: list[str] = []

    def app(environ: "WSGIEnvironment", start_response: "StartResponse") -> Answer:
        at_end(lambda: given_back.append("a place"))
        return Answer(fails)

    answer = ObservedRequests(app)({"REQUEST_METHOD": "GET"}, lambda *_: lambda _: None)
    assert (b"".join(answer), given_back) == (b"la", [])

    close: Callable[[], None] = answer.close  # type: ignore[attr-defined]
    for _ in range(2):
        if fails:
            with pytest.raises(KeyError):
                close()
        else:
            close()

    assert given_back == ["a place"]


def test_what_was_taken_is_given_back_when_the_app_fails_beyond_its_own_error_handling() -> None:
    given_back: list[str] = []

    def app(environ: "WSGIEnvironment", start_response: "StartResponse") -> list[bytes]:
        at_end(lambda: given_back.append("a place"))
        raise SystemExit

    with pytest.raises(SystemExit):
        ObservedRequests(app)({"REQUEST_METHOD": "GET"}, lambda *_: lambda _: None)

    assert given_back == ["a place"]
