"""OpenAI's endpoints."""

from typing import TypeVar

import flask
from flask.typing import ResponseReturnValue

from opendify.access.keys import KeyRing, presented_key
from opendify.conversations.identity import read_client_context
from opendify.gateway import Gateway, Person, WholeAnswer
from opendify.records import Caller
from opendify.routes.answers import dify_headers, event_stream, json_response, parse
from opendify.routes.paths import DEPLOYMENT
from opendify.serving.client_watch import client_watch
from opendify.wire.openai_chat import ChatCompletionRequest, SamplingParameters, UserObject
from opendify.wire.openai_completions import CompletionRequest

_RequestT = TypeVar("_RequestT", bound=SamplingParameters)


def v1_blueprint(gateway: Gateway, keys: KeyRing) -> flask.Blueprint:
    """The routes below `/v1`."""
    blueprint = flask.Blueprint("v1", __name__, url_prefix="/v1")

    @blueprint.post("/chat/completions")
    def create_chat_completion() -> ResponseReturnValue:
        caller = keys.authenticate(flask.request.headers, flask.request.remote_addr)
        body = _with_deployment(parse(ChatCompletionRequest))
        person = _person(caller, body.user, body.safety_identifier)
        if body.stream:
            return event_stream(gateway.stream_chat_completion(body, person))
        return _whole(gateway.create_chat_completion(body, person))

    @blueprint.post("/completions")
    def create_completion() -> ResponseReturnValue:
        caller = keys.authenticate(flask.request.headers, flask.request.remote_addr)
        body = _with_deployment(parse(CompletionRequest))
        person = _person(caller, body.user, None)
        if body.stream:
            return event_stream(gateway.stream_completion(body, person))
        return _whole(gateway.create_completion(body, person))

    @blueprint.get("/models")
    def list_models() -> ResponseReturnValue:
        # Without a key it stays the health probe of compose files, and tells a stranger nothing.
        request = flask.request
        if not keys.is_open_to(request.remote_addr) and not presented_key(request.headers):
            return json_response({"object": "list", "data": []})
        keys.authenticate(flask.request.headers, flask.request.remote_addr)
        return json_response({"object": "list", "data": gateway.list_models()})

    @blueprint.get("/models/<path:model>")
    def get_model(model: str) -> ResponseReturnValue:
        keys.authenticate(flask.request.headers, flask.request.remote_addr)
        return json_response(gateway.get_model(model))

    return blueprint


def _person(caller: Caller, user: UserObject | None, safety_identifier: str | None) -> Person:
    request = flask.request
    context = read_client_context(request.headers, user.id if user else None, safety_identifier)
    return Person(caller, context, client_watch(request.environ))


def _with_deployment(body: _RequestT) -> _RequestT:
    """Azure's clients may leave the model to the URL."""
    deployment: str = flask.request.environ.get(DEPLOYMENT, "")
    if body.model or not deployment:
        return body
    return body.model_copy(update={"model": deployment})


def _whole(answer: WholeAnswer) -> flask.Response:
    return json_response(answer.body, headers=dify_headers(answer.started))
