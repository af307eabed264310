"""Chat completions and text completions, as views."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeVar

from opendify.conversations.identity import CHAT_BODY_FIELDS, BodyIdentity
from opendify.gateway import Gateway, Person, WholeAnswer
from opendify.routes.answers import dify_headers, event_stream, json_response
from opendify.routes.express import View
from opendify.routes.paths import DEPLOYMENT
from opendify.routes.people import People
from opendify.routes.ready import ReadyAnswer
from opendify.serving.request_body import read_whole_body
from opendify.telemetry.requests import environ_at_hand
from opendify.wire.openai_chat import ChatCompletionRequest, SamplingParameters
from opendify.wire.openai_completions import CompletionRequest
from opendify.wire.openai_errors import parse_request

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

_RequestT = TypeVar("_RequestT", bound=SamplingParameters)


class Completions:
    """Each takes a slot until its answer is closed, and none knows Flask; see `express`."""

    def __init__(self, gateway: Gateway, people: People, most_body_bytes: int) -> None:
        self._gateway = gateway
        self._people = people
        self._most_body_bytes = most_body_bytes

    def views(self) -> Mapping[str, View]:
        """By their URLs' paths."""
        return {
            "/v1/chat/completions": self.create_chat_completion,
            "/v1/completions": self.create_completion,
        }

    def create_chat_completion(self) -> ReadyAnswer:
        """`POST /v1/chat/completions`."""
        body, person = self._asked(ChatCompletionRequest)
        if body.stream:
            return event_stream(self._gateway.stream_chat_completion(body, person))
        return _whole(self._gateway.create_chat_completion(body, person))

    def create_completion(self) -> ReadyAnswer:
        """`POST /v1/completions`."""
        body, person = self._asked(CompletionRequest)
        if body.stream:
            return event_stream(self._gateway.stream_completion(body, person))
        return _whole(self._gateway.create_completion(body, person))

    def _asked(self, shape: type[_RequestT]) -> tuple[_RequestT, Person]:
        environ = environ_at_hand()
        caller = self._people.caller()
        raw = read_whole_body(environ, self._most_body_bytes)
        body = _with_deployment(parse_request(shape, raw), environ)
        person = self._people.person(caller, raw, _identity(body))
        self._people.enter(person)
        return body, person


def _identity(body: SamplingParameters) -> BodyIdentity:
    """What the body tells of its sender: its own fields over those in its `metadata`."""
    metadata = body.metadata if isinstance(body.metadata, dict) else {}
    named = {name: getattr(body, name) or metadata.get(name) for name in CHAT_BODY_FIELDS}
    user = body.user.id if body.user else None
    safety_identifier = body.safety_identifier if isinstance(body, ChatCompletionRequest) else None
    return BodyIdentity(user, safety_identifier, body.prompt_cache_key, named)


def _with_deployment(body: _RequestT, environ: "WSGIEnvironment") -> _RequestT:
    """Azure's clients may leave the model to the URL."""
    if body.model:
        return body
    deployment: str = environ.get(DEPLOYMENT, "")
    return body.model_copy(update={"model": deployment}) if deployment else body


def _whole(answer: WholeAnswer) -> ReadyAnswer:
    headers = dify_headers(answer.started, memory_was_lost=answer.memory_was_lost)
    return json_response(answer.body, headers=headers)
