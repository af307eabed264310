"""OpenAI's endpoints."""

from typing import TypeVar

import flask
from flask.typing import ResponseReturnValue

from opendify.access.keys import KeyRing, presented_key
from opendify.conversations.identity import CHAT_BODY_FIELDS, BodyIdentity
from opendify.gateway import Gateway, WholeAnswer
from opendify.routes.answers import dify_headers, event_stream, json_response
from opendify.routes.paths import DEPLOYMENT
from opendify.routes.people import People
from opendify.serving.request_body import read_body
from opendify.telemetry.requests import this_request
from opendify.wire.openai_chat import ChatCompletionRequest, SamplingParameters
from opendify.wire.openai_completions import CompletionRequest
from opendify.wire.openai_errors import parse_request

_RequestT = TypeVar("_RequestT", bound=SamplingParameters)


def v1_blueprint(gateway: Gateway, keys: KeyRing, people: People) -> flask.Blueprint:
    """The routes below `/v1`; each chat takes a slot until its answer is closed."""
    blueprint = flask.Blueprint("v1", __name__, url_prefix="/v1")

    @blueprint.post("/chat/completions")
    def create_chat_completion() -> ResponseReturnValue:
        caller = people.caller()
        raw = read_body(this_request())
        body = _with_deployment(parse_request(ChatCompletionRequest, raw))
        person = people.person(caller, raw, _identity(body, body.safety_identifier))
        people.enter(person)
        if body.stream:
            return event_stream(gateway.stream_chat_completion(body, person))
        return _whole(gateway.create_chat_completion(body, person))

    @blueprint.post("/completions")
    def create_completion() -> ResponseReturnValue:
        caller = people.caller()
        raw = read_body(this_request())
        body = _with_deployment(parse_request(CompletionRequest, raw))
        person = people.person(caller, raw, _identity(body))
        people.enter(person)
        if body.stream:
            return event_stream(gateway.stream_completion(body, person))
        return _whole(gateway.create_completion(body, person))

    @blueprint.get("/models")
    def list_models() -> ResponseReturnValue:
        # Without a key it stays the health probe of compose files, and tells a stranger nothing.
        request = flask.request
        if not keys.is_open_to(request.remote_addr) and not presented_key(request.headers):
            return json_response({"object": "list", "data": []})
        return json_response({"object": "list", "data": gateway.list_models(people.caller())})

    @blueprint.get("/models/<path:model>")
    def get_model(model: str) -> ResponseReturnValue:
        return json_response(gateway.get_model(model, people.caller()))

    return blueprint


def _identity(body: SamplingParameters, safety_identifier: object = None) -> BodyIdentity:
    """What the body tells of its sender: its own fields over those in its `metadata`."""
    metadata = body.metadata if isinstance(body.metadata, dict) else {}
    named = {name: getattr(body, name) or metadata.get(name) for name in CHAT_BODY_FIELDS}
    user = body.user.id if body.user else None
    return BodyIdentity(user, safety_identifier, body.prompt_cache_key, named)


def _with_deployment(body: _RequestT) -> _RequestT:
    """Azure's clients may leave the model to the URL."""
    if body.model:
        return body
    deployment: str = flask.request.environ.get(DEPLOYMENT, "")
    if not deployment:
        return body
    return body.model_copy(update={"model": deployment})


def _whole(answer: WholeAnswer) -> flask.Response:
    headers = dify_headers(answer.started, memory_was_lost=answer.memory_was_lost)
    return json_response(answer.body, headers=headers)
