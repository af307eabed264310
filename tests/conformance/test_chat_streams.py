"""Streams as clients need them, however Dify behaves."""

import dataclasses
import threading
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from opendify.app import create_app
from tests.conformance.judge import schema_faults
from tests.conftest import Serve
from tests.fakes.frames import END, PING, event, message, read_frames, text_of
from tests.fakes.mock_dify import MockDify, stream
from tests.fakes.openai_errors import assert_error_object, assert_openai_error
from tests.fakes.settings import make_settings

CHAT = "/v1/chat/completions"
BODY = {"model": "bot", "stream": True, "messages": [{"role": "user", "content": "Hi"}]}
GIVE_UP_SECONDS = 5.0


def asked(serve: Serve, dify: MockDify, answer: bytes, **more: object) -> list[Any]:
    """The frames of a streamed answer, each checked against its schema."""
    dify.answers["run"] = lambda _: stream(answer)
    response = serve().post(CHAT, json=BODY | more)
    assert response.status_code == 200, response.text
    frames = read_frames([response.data])
    for frame in frames:
        if isinstance(frame, dict) and "error" not in frame:
            assert schema_faults("CreateChatCompletionStreamResponse", frame) == []
    return frames


@pytest.fixture
def dify_waits(dify: MockDify) -> Iterator[Callable[[bytes], threading.Event]]:
    """Make the run say something, then nothing until the event is set, then the rest."""
    go_on = threading.Event()

    def waits_after(beginning: bytes) -> threading.Event:
        def body() -> Iterator[bytes]:
            if beginning:
                yield beginning
            go_on.wait(GIVE_UP_SECONDS)
            yield message("Hello") + END

        dify.answers["run"] = lambda _: httpx.Response(
            200, headers={"Content-Type": "text/event-stream"}, content=body()
        )
        return go_on

    yield waits_after
    go_on.set()


def open_stream(dify: MockDify, *, commit_seconds: float, keepalive_seconds: float) -> Iterator[bytes]:
    """What leaves, piece by piece, with times that no operator would set."""
    settings = dataclasses.replace(
        make_settings(), stream_commit_seconds=commit_seconds, keepalive_seconds=keepalive_seconds
    )
    app = create_app(settings, transport=dify.transport)
    response = app.test_client().post(CHAT, json=BODY)
    assert response.status_code == 200
    return response.iter_encoded()


@pytest.mark.parametrize("beginning", [b"", PING], ids=["nothing yet", "a ping"])
def test_the_role_is_sent_although_dify_takes_its_time(
    dify: MockDify, dify_waits: Callable[[bytes], threading.Event], beginning: bytes
) -> None:
    go_on = dify_waits(beginning)

    pieces = open_stream(dify, commit_seconds=0.02, keepalive_seconds=60)
    [first] = read_frames([next(pieces)])

    assert not go_on.is_set()
    assert isinstance(first, dict)
    assert first["choices"][0]["delta"] == {"role": "assistant", "content": "", "refusal": None}
    go_on.set()
    assert text_of(read_frames(pieces)) == "Hello"


def test_silence_is_filled_with_comments_that_end_in_a_blank_line(
    dify: MockDify, dify_waits: Callable[[bytes], threading.Event]
) -> None:
    go_on = dify_waits(b"")

    pieces = open_stream(dify, commit_seconds=0, keepalive_seconds=0.02)
    next(pieces)

    assert [next(pieces), next(pieces)] == [b": keep-alive\n\n"] * 2
    go_on.set()
    assert read_frames(pieces)[-1] == "[DONE]"


def test_what_clients_do_not_know_does_not_reach_them(serve: Serve, dify: MockDify) -> None:
    noise = (
        PING
        + event("event_of_tomorrow", payload={"deep": [1, None]})
        + event("workflow_started", data={"id": "w", "inputs": {"sys.query": "Hi"}})
        + event("node_started", data={"id": "n", "title": "A node"})
        + event("tts_message", audio="UklGRg==")
    )

    frames = asked(serve, dify, noise + message("Hello") + noise + END)

    assert text_of(frames) == "Hello"
    assert all(frame.keys() <= _CHUNK_KEYS for frame in frames[:-1])
    assert frames[-1] == "[DONE]"


_CHUNK_KEYS = {"id", "object", "created", "model", "choices", "usage", "dify"}


def test_two_ends_from_dify_are_one_finish_chunk(serve: Serve, dify: MockDify) -> None:
    finished = event("workflow_finished", data={"status": "succeeded", "outputs": {"answer": "Hello"}})
    dify.answers["info"] = lambda _: httpx.Response(200, json={"name": "Mock", "mode": "advanced-chat"})

    frames = asked(serve, dify, message("Hello") + finished + END + finished)

    reasons = [choice["finish_reason"] for frame in frames[:-1] for choice in frame["choices"]]
    assert [reason for reason in reasons if reason] == ["stop"]
    assert frames[-1] == "[DONE]"


def test_a_replaced_answer_is_still_a_valid_stream(serve: Serve, dify: MockDify) -> None:
    frames = asked(serve, dify, message("Bad") + event("message_replace", answer="Moderated") + END)

    assert frames[-2]["choices"][0]["finish_reason"] == "content_filter"
    assert frames[-1] == "[DONE]"


@pytest.mark.parametrize(
    ("ending", "code"),
    [
        pytest.param(
            event("error", status=400, code="completion_request_error", message="out of luck"),
            "upstream_run_failed",
            id="an error event",
        ),
        pytest.param(b"", "upstream_error", id="an early end"),
        pytest.param(b"data: {not json\n\n", "upstream_error", id="nonsense"),
    ],
)
def test_a_failure_in_mid_stream_is_one_error_frame_and_no_done(
    serve: Serve, dify: MockDify, ending: bytes, code: str
) -> None:
    *before, last = asked(serve, dify, message("Hel") + ending)

    assert_error_object(last, 502, code)
    assert text_of(before) == "Hel"
    assert not any(choice["finish_reason"] for frame in before for choice in frame["choices"])


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 415, 429, 500, 502, 503, 504])
def test_a_refusal_by_dify_is_a_status_and_no_stream(serve: Serve, dify: MockDify, status: int) -> None:
    dify.answers["run"] = lambda _: httpx.Response(status, json={"code": "odd_code", "message": "Not so."})

    response = serve().post(CHAT, json=BODY)

    assert response.status_code >= 400
    assert response.json is not None
    assert_openai_error(response, response.status_code, response.json["error"]["code"])
