"""OpenAI's endpoints."""

import flask
from flask.typing import ResponseReturnValue

from opendify.access.keys import KeyRing, presented_key
from opendify.gateway import Gateway
from opendify.routes.answers import json_response
from opendify.routes.completions import Completions
from opendify.routes.people import People


def v1_blueprint(
    gateway: Gateway, keys: KeyRing, people: People, completions: Completions
) -> flask.Blueprint:
    """The routes below `/v1`."""
    blueprint = flask.Blueprint("v1", __name__, url_prefix="/v1")
    blueprint.post("/chat/completions")(completions.create_chat_completion)
    blueprint.post("/completions")(completions.create_completion)

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
