"""Speech in both directions on the real server: who leaves frees everything, and what breaks is seen to."""

import json
import time
from collections.abc import Callable, Iterator

import httpx
import pytest

from tests.fakes.live_dify import LiveDify, Wire, live_dify, whole
from tests.fakes.mock_dify import MP3
from tests.fakes.waiting import wait_until
from tests.resilience.server import RunningServer, running_server

# The rule is half a second; a loaded machine may take its time.
AT_ONCE_SECONDS = 1.5
# One worker with a slot for one chat: one that is answered tells that the slot was free.
_ONE_SLOT = {"GUNICORN_WORKERS": "1", "GUNICORN_THREADS": "3", "QUEUE_LENGTH": "0"}
KINDS = {
    "threads": _ONE_SLOT,
    "gevent": {"GUNICORN_WORKERS": "1", "GUNICORN_WORKER_CLASS": "gevent"},
}
FORM = (
    b'--b\r\nContent-Disposition: form-data; name="model"\r\n\r\nbot\r\n'
    b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.mp3"\r\n\r\n' + MP3 + b"\r\n--b--\r\n"
)
SPEECH = json.dumps({"model": "bot", "input": "Good morning", "voice": "alloy"}).encode()


@pytest.fixture(scope="module")
def dify() -> Iterator[LiveDify]:
    with live_dify() as dify:
        yield dify


@pytest.fixture(scope="module", params=KINDS)
def server(request: pytest.FixtureRequest, dify: LiveDify) -> Iterator[RunningServer]:
    with running_server(dify, **KINDS[request.param]) as server:
        yield server


def post(path: str, body: bytes, content_type: str) -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {content_type}\r\n"
    return head.encode() + b"Content-Length: %d\r\n\r\n" % len(body) + body


TRANSCRIPTION = post("/v1/audio/transcriptions", FORM, "multipart/form-data; boundary=b")
SPOKEN = post("/v1/audio/speech", SPEECH, "application/json")


def says_nothing(wire: Wire) -> bool:
    return wire.hold(10)


def speaks_and_falls_silent(wire: Wire) -> bool:
    wire.head(content_type="audio/mpeg")
    wire.chunk(MP3)
    return wire.hold(10)


@pytest.mark.parametrize(
    ("request_bytes", "way"),
    [(TRANSCRIPTION, says_nothing), (SPOKEN, says_nothing), (SPOKEN, speaks_and_falls_silent)],
    ids=["transcription", "speech before it", "speech in the middle"],
)
def test_a_client_that_leaves_frees_its_slot_and_ends_the_call_at_dify(
    server: RunningServer, dify: LiveDify, request_bytes: bytes, way: Callable[[Wire], bool]
) -> None:
    ended: list[bool] = []
    began: list[bool] = []

    def script(wire: Wire) -> None:
        began.append(True)
        ended.append(way(wire))

    dify.answer = script
    with server.client() as client:
        client.send(request_bytes)
        assert wait_until(lambda: began, 10)
        if way is speaks_and_falls_silent:
            client.read_until(MP3)
        client.leave()
    left_at = time.monotonic()

    assert wait_until(lambda: ended, 10)
    assert ended == [True], "Dify's side of the connection was closed"
    assert time.monotonic() - left_at < AT_ONCE_SECONDS
    dify.answer = whole
    assert wait_until(lambda: server.chat().status_code == 200, AT_ONCE_SECONDS)


def test_speech_that_dify_breaks_off_is_seen_to_be_broken(server: RunningServer, dify: LiveDify) -> None:
    def breaks_off(wire: Wire) -> None:
        wire.head(content_type="audio/mpeg")
        wire.chunk(MP3)

    dify.answer = breaks_off

    with pytest.raises(httpx.RemoteProtocolError):
        httpx.post(f"{server.origin}/v1/audio/speech", content=SPEECH, timeout=20)

    assert "Traceback" not in server.log, server.log
    dify.answer = whole
    assert server.chat().status_code == 200
