"""`/openapi.json`: what all routes are sent and answer, for programs and for those who look around."""

from functools import cache

import flask
from flask.typing import ResponseReturnValue

from opendify.routes.answers import json_bytes
from opendify.wire.sse import encode_json


def openapi_blueprint() -> flask.Blueprint:
    """The document, which needs no key: it is the same for every installation of a release."""
    blueprint = flask.Blueprint("openapi", __name__)

    @cache
    def document() -> bytes:
        # Few ask for it, and the schemas of all shapes take room.
        from opendify.routes.document import openapi_document

        return encode_json(openapi_document(flask.current_app.url_map.iter_rules()))

    @blueprint.get("/openapi.json")
    def show_document() -> ResponseReturnValue:
        return json_bytes(document())

    return blueprint
