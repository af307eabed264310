"""What is asked of an app: the body of a request, and for whom it is; a slot is taken."""

from typing import TYPE_CHECKING, TypeVar

from opendify.conversations.identity import CHAT_BODY_FIELDS, NOTHING_NAMED, BodyIdentity
from opendify.gateway import WholeAnswer
from opendify.routes.answers import dify_headers, json_response
from opendify.routes.paths import DEPLOYMENT
from opendify.routes.people import People
from opendify.routes.ready import ReadyAnswer
from opendify.runs.person import Person
from opendify.serving.request_body import read_whole_body
from opendify.telemetry.requests import environ_at_hand
from opendify.wire.openai_chat import AnswerRequest, ChatCompletionRequest
from opendify.wire.openai_errors import parse_request
from opendify.wire.openai_responses import ResponsesRequest

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

RequestT = TypeVar("RequestT", bound=AnswerRequest)

_TELLING = frozenset(
    {*CHAT_BODY_FIELDS, "metadata", "user", "safety_identifier", "prompt_cache_key", "conversation"}
)


class Asking:
    """Reads the request at hand, without Flask; see `express`."""

    def __init__(self, people: People, most_body_bytes: int) -> None:
        self.people = people
        self._most_body_bytes = most_body_bytes

    def enter(self, shape: type[RequestT]) -> tuple[RequestT, Person]:
        """The body and its person, who has a slot until the answer is closed."""
        body, person = self.read(shape)
        self.people.enter(person)
        return body, person

    def read(self, shape: type[RequestT]) -> tuple[RequestT, Person]:
        """The body and its person."""
        environ = environ_at_hand()
        caller = self.people.caller()
        raw = read_whole_body(environ, self._most_body_bytes)
        body = _with_deployment(parse_request(shape, raw), environ)
        return body, self.people.person(caller, raw, _identity(body))


def whole_answer(answer: WholeAnswer) -> ReadyAnswer:
    """As JSON, with what headers can tell."""
    headers = dify_headers(answer.started, memory_was_lost=answer.memory_was_lost)
    return json_response(answer.body, headers=headers)


def _identity(body: AnswerRequest) -> BodyIdentity:
    """What the body tells of its sender: its own fields over those in its `metadata`."""
    if _TELLING.isdisjoint(body.model_fields_set):
        return NOTHING_NAMED
    metadata = body.metadata if isinstance(body.metadata, dict) else {}
    named = {name: value for name in CHAT_BODY_FIELDS if (value := getattr(body, name))}
    for name in CHAT_BODY_FIELDS if metadata else ():
        if name in metadata:
            named.setdefault(name, metadata[name])
    user = body.user.id if body.user else None
    safety_identifier = None
    match body:
        case ChatCompletionRequest():
            safety_identifier = body.safety_identifier
        case ResponsesRequest():
            safety_identifier = body.safety_identifier
            if body.conversation:
                named["conversation_id"] = body.conversation.id
    return BodyIdentity(user, safety_identifier, body.prompt_cache_key, named)


def _with_deployment(body: RequestT, environ: "WSGIEnvironment") -> RequestT:
    """Azure's clients may leave the model to the URL."""
    if body.model:
        return body
    deployment: str = environ.get(DEPLOYMENT, "")
    return body.model_copy(update={"model": deployment}) if deployment else body
