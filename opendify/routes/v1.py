"""OpenAI's endpoints."""

from typing import TypeVar

import flask
from flask.typing import ResponseReturnValue

from opendify.access.keys import KeyRing, presented_key
from opendify.conversations.identity import read_client_context
from opendify.gateway import Gateway, Person, WholeAnswer
from opendify.routes.answers import dify_headers, event_stream, json_response, parse
from opendify.routes.paths import DEPLOYMENT
from opendify.wire.openai_chat import ChatCompletionRequest, SamplingParameters
from opendify.wire.openai_completions import CompletionRequest

_RequestT = TypeVar("_RequestT", bound=SamplingParameters)


def v1_blueprint(gateway: Gateway, keys: KeyRing) -> flask.Blueprint:
    """The routes below `/v1`."""
    blueprint = flask.Blueprint("v1", __name__, url_prefix="/v1")

    @blueprint.post("/chat/completions")
    def create_chat_completion() -> ResponseReturnValue:
        caller = keys.authenticate(flask.request.headers)
        body = _with_deployment(parse(ChatCompletionRequest))
        context = read_client_context(
            flask.request.headers, body.user.id if body.user else None, body.safety_identifier
        )
        if body.stream:
            return event_stream(gateway.stream_chat_completion(body, Person(caller, context)))
        return _whole(gateway.create_chat_completion(body, Person(caller, context)))

    @blueprint.post("/completions")
    def create_completion() -> ResponseReturnValue:
        caller = keys.authenticate(flask.request.headers)
        body = _with_deployment(parse(CompletionRequest))
        context = read_client_context(flask.request.headers, body.user.id if body.user else None)
        if body.stream:
            return event_stream(gateway.stream_completion(body, Person(caller, context)))
        return _whole(gateway.create_completion(body, Person(caller, context)))

    @blueprint.get("/models")
    def list_models() -> ResponseReturnValue:
        # Without a key it stays the health probe of compose files, and tells a stranger nothing.
        if not keys.is_open and not presented_key(flask.request.headers):
            return json_response({"object": "list", "data": []})
        keys.authenticate(flask.request.headers)
        return json_response({"object": "list", "data": gateway.list_models()})

    @blueprint.get("/models/<path:model>")
    def get_model(model: str) -> ResponseReturnValue:
        keys.authenticate(flask.request.headers)
        return json_response(gateway.get_model(model))

    return blueprint


def _with_deployment(body: _RequestT) -> _RequestT:
    """Azure's clients may leave the model to the URL."""
    deployment: str = flask.request.environ.get(DEPLOYMENT, "")
    if body.model or not deployment:
        return body
    return body.model_copy(update={"model": deployment})


def _whole(answer: WholeAnswer) -> flask.Response:
    return json_response(answer.body, headers=dify_headers(answer.started))
