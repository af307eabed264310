"""`POST /v1/audio/speech`: what Dify is asked, and its audio as it comes."""

import base64
import json
import threading
from collections.abc import Iterator

import httpx
import pytest

from tests.conftest import Serve
from tests.fakes.frames import Shape, read_frames
from tests.fakes.mock_dify import MP3, MockDify, always, audio, refusal
from tests.fakes.openai_errors import assert_openai_error
from tests.fakes.recordings import wav

URL = "/v1/audio/speech"


def words(**fields: object) -> str:
    return json.dumps({"model": "bot", "input": "Good morning", "voice": "alloy", **fields})


def parameters(**speech: object) -> httpx.Response:
    return httpx.Response(200, json={"text_to_speech": {"enabled": True, "voice": "", **speech}})


def asked(dify: MockDify) -> Shape:
    (body,) = dify.bodies("text-to-audio")
    return body


def test_the_audio_is_dify_s_byte_for_byte(serve: Serve) -> None:
    answer = serve().post(URL, data=words())

    assert (answer.status_code, answer.content_type) == (200, "audio/mpeg")
    assert answer.data == MP3
    assert "Content-Length" not in answer.headers
    assert answer.headers["X-Accel-Buffering"] == "no"


def test_dify_gets_the_words_the_voice_and_the_person(serve: Serve, dify: MockDify) -> None:
    fields = {
        "voice": "Cherry",
        "user": "anna",
        "speed": 1.5,
        "instructions": "slowly",
        "response_format": "opus",
    }
    serve().post(URL, data=words(**fields))

    body = asked(dify)
    assert "anna" in body.pop("user")
    assert body == {"text": "Good morning", "voice": "Cherry"}


@pytest.mark.parametrize(
    ("content", "stated", "content_type"),
    [
        (MP3, "audio/mpeg", "audio/mpeg"),
        (b"ID3\x04" + bytes(60), "audio/mpeg", "audio/mpeg"),
        # Dify calls everything MP3; what it is depends on the provider.
        (wav(), "audio/mpeg", "audio/wav"),
        (b"OggS" + bytes(60), "audio/mpeg", "audio/ogg"),
        (MP3, "application/octet-stream", "audio/mpeg"),
        (b"what nobody knows", "audio/x-new", "audio/x-new"),
        (b"tiny", "audio/mpeg", "audio/mpeg"),
    ],
)
def test_the_type_is_that_of_the_bytes(
    serve: Serve, dify: MockDify, content: bytes, stated: str, content_type: str
) -> None:
    dify.answers["text-to-audio"] = lambda _: audio(content, stated)

    answer = serve().post(URL, data=words())

    assert (answer.content_type, answer.data) == (content_type, content)


def test_a_start_in_crumbs_is_put_together(serve: Serve, dify: MockDify) -> None:
    dify.answers["text-to-audio"] = lambda _: audio(iter([b"\xff", b"", b"\xfb\x90", b"\x00" * 3, MP3]))

    answer = serve().post(URL, data=words())

    assert (answer.content_type, answer.data) == ("audio/mpeg", b"\xff\xfb\x90\x00\x00\x00" + MP3)


def test_each_piece_leaves_when_it_came(serve: Serve, dify: MockDify) -> None:
    heard = threading.Event()

    def spoken() -> Iterator[bytes]:
        yield MP3
        assert heard.wait(5), "the first piece was held back"
        yield b"the rest"

    dify.answers["text-to-audio"] = lambda _: audio(spoken())
    pieces = serve().post(URL, data=words(), buffered=False).iter_encoded()

    assert next(pieces) == MP3
    heard.set()
    assert b"".join(pieces) == b"the rest"


@pytest.mark.parametrize(
    ("own_voice", "voice", "sent"),
    [
        ("", "alloy", "alloy"),
        ("nova", "alloy", "alloy"),
        # Nobody but OpenAI has these, and every client sends one.
        ("zh-CN-Xiaoxiao", "alloy", None),
        ("zh-CN-Xiaoxiao", "zh-CN-Yunxi", "zh-CN-Yunxi"),
        ("zh-CN-Xiaoxiao", {"id": "zh-CN-Yunxi"}, "zh-CN-Yunxi"),
        ("zh-CN-Xiaoxiao", None, None),
        ("", "", None),
    ],
)
def test_an_app_with_a_voice_of_its_own_keeps_it_unless_another_is_named(
    serve: Serve, dify: MockDify, own_voice: str, voice: object, sent: str | None
) -> None:
    dify.answers["parameters"] = lambda _: parameters(voice=own_voice)

    serve().post(URL, data=words(voice=voice))

    assert asked(dify).get("voice") == sent


def test_events_carry_the_same_audio(serve: Serve) -> None:
    answer = serve().post(URL, data=words(stream_format="sse"))

    assert answer.content_type == "text/event-stream; charset=utf-8"
    *deltas, done, end = read_frames([answer.data])
    pieces = [
        delta["audio"]
        for delta in deltas
        if isinstance(delta, dict) and delta["type"] == "speech.audio.delta"
    ]
    assert b"".join(map(base64.b64decode, pieces)) == MP3
    assert (done, end) == ({"type": "speech.audio.done"}, "[DONE]")


def _breaking_off() -> Iterator[bytes]:
    yield MP3
    raise httpx.ReadError("gone")


def test_events_that_break_off_end_in_an_error_and_not_in_done(serve: Serve, dify: MockDify) -> None:
    dify.answers["text-to-audio"] = lambda _: audio(_breaking_off())

    *_, last = read_frames([serve().post(URL, data=words(stream_format="sse")).data])

    assert isinstance(last, dict)
    assert last["error"]["code"] == "upstream_error"


def test_audio_that_breaks_off_breaks_the_connection(serve: Serve, dify: MockDify) -> None:
    dify.answers["text-to-audio"] = lambda _: audio(_breaking_off())
    pieces = serve().post(URL, data=words(), buffered=False).iter_encoded()

    assert next(pieces) == MP3
    with pytest.raises(ConnectionResetError):
        next(pieces)


@pytest.mark.parametrize(
    ("fields", "code", "param"),
    [
        ({"model": None}, None, None),
        ({"input": None}, "invalid_value", "input"),
        ({"input": " \n"}, "invalid_value", "input"),
        ({"input": "x" * 4_097}, "string_above_max_length", "input"),
        ({"input": 5}, "invalid_type", "input"),
        ({"response_format": "pcm"}, "unsupported_value", "response_format"),
        ({"response_format": "midi"}, "invalid_value", "response_format"),
        ({"stream_format": "fax"}, "invalid_value", "stream_format"),
        ({"speed": 9}, "decimal_above_max_value", "speed"),
        ({"voice": 5}, "invalid_type", "voice"),
    ],
)
def test_a_wrong_field_is_named(
    serve: Serve, dify: MockDify, fields: dict[str, object], code: str | None, param: str | None
) -> None:
    assert_openai_error(serve().post(URL, data=words(**fields)), 400, code, param=param)
    assert not dify.asked("text-to-audio")


def test_azure_names_the_model_in_the_path(serve: Serve) -> None:
    url = "/openai/deployments/bot/audio/speech"

    assert serve().post(url, data=words(model=None)).status_code == 200


def test_an_app_that_does_not_speak_says_so_before_anything_is_paid_for(serve: Serve, dify: MockDify) -> None:
    dify.answers["parameters"] = lambda _: parameters(enabled=False)

    answer = serve().post(URL, data=words())

    assert "Text to Speech" in assert_openai_error(answer, 400, "unsupported_value", param="model")
    assert not dify.asked("text-to-audio")


@pytest.mark.parametrize(
    ("said", "status", "code"),
    [
        (refusal(400, "invalid_param", "TTS is not enabled"), 400, None),
        (refusal(400, "completion_request_error", "[tts] Error: no"), 502, "upstream_run_failed"),
        (refusal(401, "unauthorized"), 502, "upstream_auth_error"),
        (refusal(500, "internal_server_error"), 502, "upstream_error"),
        (refusal(200, "completion_request_error", "[tts] no"), 502, "upstream_run_failed"),
        (refusal(200, "provider_quota_exceeded", "no"), 429, "insufficient_quota"),
        (httpx.Response(200, json=None), 502, "upstream_error"),
        (httpx.Response(200, json={"result": "success"}), 502, "upstream_error"),
        (httpx.Response(200, html="<h1>login"), 502, "upstream_error"),
        (audio(b""), 502, "upstream_error"),
        (httpx.Response(204), 502, "upstream_error"),
    ],
)
def test_what_is_no_audio_is_an_error_of_ours(
    serve: Serve, dify: MockDify, said: httpx.Response, status: int, code: str | None
) -> None:
    dify.answers["text-to-audio"] = always(said)

    assert_openai_error(serve().post(URL, data=words()), status, code)


def test_a_model_that_cannot_be_reached_is_stood_in_for(serve: Serve, dify: MockDify) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        if request.headers["Authorization"] == "Bearer app-a":
            raise httpx.ConnectError("no", request=request)
        return audio()

    dify.answers["text-to-audio"] = answer
    client = serve({"a": {"api_key": "app-a", "fallbacks": ["b"]}, "b": "app-b"})

    assert client.post(URL, data=words(model="a")).data == MP3


class TestAMessage:
    """Dify would read anybody's aloud, so that it is asked first whose it is."""

    def test_is_read_aloud_once_dify_says_that_it_is_the_person_s(self, serve: Serve, dify: MockDify) -> None:
        dify.answers["other"] = lambda _: httpx.Response(200, json={"data": []})
        fields = {"input": "", "message_id": "m-1", "conversation_id": "c-1", "user": "anna"}

        assert serve().post(URL, data=words(**fields)).data == MP3

        (question,) = dify.asked("other")
        assert question.url.path == "/v1/messages"
        place = dict(question.url.params)
        assert "anna" in place["user"]
        assert place == {
            "conversation_id": "c-1",
            "first_id": "m-1",
            "limit": "1",
            "user": asked(dify)["user"],
        }
        assert asked(dify)["message_id"] == "m-1"
        assert "text" not in asked(dify)

    @pytest.mark.parametrize(
        ("message", "code"),
        [
            ("First Message Not Exists.", "message_not_found"),
            ("Conversation Not Exists. You have requested this URI [/v1/messages]", "conversation_not_found"),
        ],
    )
    def test_of_another_person_is_not_found(
        self, serve: Serve, dify: MockDify, message: str, code: str
    ) -> None:
        dify.answers["other"] = lambda _: refusal(404, "not_found", message)

        answer = serve().post(URL, data=words(message_id="m-1", conversation_id="c-1"))

        assert_openai_error(answer, 404, code)
        assert not dify.asked("text-to-audio")

    def test_needs_its_conversation(self, serve: Serve, dify: MockDify) -> None:
        answer = serve().post(URL, data=words(message_id="m-1"))

        assert_openai_error(answer, 400, "missing_required_parameter", param="conversation_id")
        assert not dify.requests

    def test_may_have_its_conversation_in_the_header(self, serve: Serve, dify: MockDify) -> None:
        dify.answers["other"] = lambda _: httpx.Response(200, json={"data": []})
        headers = {"X-Dify-Conversation-Id": "c-9"}

        assert serve().post(URL, data=words(message_id="m-1"), headers=headers).status_code == 200
        assert dify.asked("other")[0].url.params["conversation_id"] == "c-9"

    def test_without_words_is_not_found(self, serve: Serve, dify: MockDify) -> None:
        dify.answers["other"] = lambda _: httpx.Response(200, json={"data": []})
        dify.answers["text-to-audio"] = lambda _: httpx.Response(200, json=None)

        answer = serve().post(URL, data=words(message_id="m-1", conversation_id="c-1"))

        assert_openai_error(answer, 404, "message_not_found", param="message_id")
