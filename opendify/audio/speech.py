"""Text → audio, as it comes from Dify."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from typing import Final
from urllib.parse import urlencode

from opendify.audio.candidates import first_able
from opendify.audio.formats import START_BYTES, audio_type
from opendify.dify.calls import DifyCall
from opendify.errors import DifyError, GatewayError, InvalidRequest, MessageNotFound
from opendify.owners import Owner
from opendify.records import AppProfile
from opendify.runs.calls import CallTools, WatchedCall
from opendify.runs.person import Person
from opendify.settings import DifyApp
from opendify.translate.dify_errors import error_from_event
from opendify.wire.dify import ErrorEvent, decode_error_body
from opendify.wire.openai_audio import SpeechRequest

# Clients send one of these whether their user chose it or not.
_OPENAI_VOICES: Final = frozenset(
    (
        *("alloy", "ash", "ballad", "cedar", "coral", "echo", "fable"),
        *("marin", "nova", "onyx", "sage", "shimmer", "verse"),
    )
)
_MOST_ERROR_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Speech:
    """Audio that has begun to come; `pieces` raises `GatewayError` where it breaks off.

    `content_type` is that of the audio itself, whatever Dify calls it. To be closed.
    """

    content_type: str
    pieces: Iterator[bytes]
    _call: WatchedCall = field(repr=False)

    def close(self) -> None:
        """Let go of it; what is not whole is broken off at Dify."""
        self._call.close()


class Speaker:
    """`POST /v1/audio/speech` as Dify can do it: a voice can be chosen, and nothing else."""

    def __init__(self, tools: CallTools) -> None:
        self._owners = tools.owners
        self._discovery = tools.discovery
        self._calls = tools.calls

    def speak(self, request: SpeechRequest, person: Person) -> Speech:
        """The audio, once its first bytes came, so that what fails before them is an HTTP status.

        Raises:
            InvalidRequest: Nothing to say, the app does not speak, or a format that it never has.
            MessageNotFound: No message of the person's, or one without words.
            GatewayError: Dify refused, or failed.
        """
        _refuse_what_dify_has_not(request)
        if request.message_id:
            owner = self._owner_of_message(request.message_id, request.model or "", person)
            return self._speak(owner.app, {"message_id": request.message_id}, request, owner.user, person)
        if not (request.input and request.input.strip()):
            raise InvalidRequest(
                "There is nothing to say: 'input' is empty.", param="input", code="invalid_value"
            )
        owner = self._owners.of_person(request.model or "", person.caller, person.context)
        words = {"text": request.input}
        speak = partial(self._speak, words=words, request=request, user=owner.user, person=person)
        return first_able(self._owners.who_may_answer(owner, person.caller), speak)

    def _owner_of_message(self, message_id: str, model: str, person: Person) -> Owner:
        """Dify reads any message of its database aloud, so that whose it is must be found out before.

        It pages through a conversation from one of its messages backwards, and says
        whether the conversation is the user's, and whether the message is in it.
        """
        context = person.context
        conversation_id = context.conversation_id or context.maybe_conversation_id
        if not conversation_id:
            raise InvalidRequest(
                "A message is read aloud only with its conversation: name it in 'conversation_id', or in the "
                "header 'X-Dify-Conversation-Id'.",
                param="conversation_id",
                code="missing_required_parameter",
            )
        owner = self._owners.of_conversation(conversation_id, model, person.caller, context)
        place = {
            "conversation_id": conversation_id,
            "user": owner.user,
            "first_id": message_id,
            "limit": 1,
        }
        call = DifyCall("GET", f"/messages?{urlencode(place)}")
        self._calls.read_json(owner.app, call, person.client, is_paid=False)
        return owner

    def _speak(
        self, app: DifyApp, words: Mapping[str, object], request: SpeechRequest, user: str, person: Person
    ) -> Speech:
        person.observation.model = app.name
        profile = self._discovery.profile(app)
        if profile.speaks is False:
            raise InvalidRequest(
                f"The app behind the model {app.name!r} does not speak; in Dify this is the feature "
                "Text to Speech.",
                param="model",
                code="unsupported_value",
            )
        voice = _voice(request, profile)
        body = {**words, "user": user, **({"voice": voice} if voice else {})}
        call = self._calls.begin(app, DifyCall("POST", "/text-to-audio", body), person.client)
        try:
            return _begun(call, nothing_said=_silence(words))
        except BaseException:
            call.close()
            raise


def _refuse_what_dify_has_not(request: SpeechRequest) -> None:
    if request.response_format == "pcm":
        raise InvalidRequest(
            "'response_format' cannot be 'pcm': Dify sends the audio in a format of its own choice, mostly "
            "mp3, and plain samples would not tell.",
            param="response_format",
            code="unsupported_value",
        )


def _voice(request: SpeechRequest, profile: AppProfile) -> str | None:
    """The voice that Dify is to be told; one of OpenAI's means nothing to an app that has another."""
    voice = request.voice.id if request.voice else None
    has_another = profile.voice and profile.voice not in _OPENAI_VOICES
    return None if voice in _OPENAI_VOICES and has_another else voice


def _silence(words: Mapping[str, object]) -> GatewayError:
    """What it means that Dify has nothing to say: it answers 200 and `null` then."""
    if "message_id" in words:
        return MessageNotFound("There is no such message, or it has no words", param="message_id")
    return DifyError("Dify sent no audio")


def _begun(call: WatchedCall, nothing_said: GatewayError) -> Speech:
    stated = call.head().content_type
    pieces = call.pieces()
    start = b""
    while len(start) < START_BYTES and (piece := next(pieces, b"")):
        start += piece
    found = audio_type(start)
    if found is None and (not start or not stated.lower().startswith("audio/")):
        raise _failure(start, pieces, stated) or nothing_said
    return Speech(found or stated, chain((start,), pieces), call)


def _failure(start: bytes, pieces: Iterator[bytes], stated: str) -> GatewayError | None:
    """What Dify said instead of audio, under a status that says that all is well; None for nothing."""
    body = bytearray(start)
    with suppress(GatewayError):
        for piece in pieces:
            body += piece
            if len(body) > _MOST_ERROR_BYTES:
                break
    if bytes(body).strip() in (b"", b"null"):
        return None
    said = decode_error_body(bytes(body)) if stated.lower().startswith("application/json") else None
    if said and (said.code or said.message):
        return error_from_event(ErrorEvent(code=said.code, message=said.message))
    return DifyError("Dify answered with something that is not audio")
