"""OpenAI's endpoints for responses."""

from collections.abc import Mapping

import flask
from flask.typing import ResponseReturnValue

from opendify.responses.answering import Responses
from opendify.responses.shelf import Shelf
from opendify.routes.answers import event_stream, json_response
from opendify.routes.asking import Asking, whole_answer
from opendify.routes.express import View
from opendify.routes.ready import ReadyAnswer
from opendify.wire.openai_files import parse_fields
from opendify.wire.openai_responses import InputItemListing, ResponsesRequest, StoredResponseQuery


class ResponseViews:
    """One method a route; those that `express` serves know no Flask."""

    def __init__(self, responses: Responses, shelf: Shelf, asking: Asking) -> None:
        self._responses = responses
        self._shelf = shelf
        self._asking = asking
        self._people = asking.people

    def views(self) -> Mapping[str, View]:
        """By their URLs' paths."""
        return {"/v1/responses": self.create}

    def create(self) -> ReadyAnswer:
        """`POST /v1/responses`; it takes a slot until its answer is closed."""
        body, person = self._asking.enter(ResponsesRequest)
        if body.stream:
            return event_stream(self._responses.stream(body, person))
        return whole_answer(self._responses.create(body, person))

    def count_input_tokens(self) -> ResponseReturnValue:
        body, person = self._asking.read(ResponsesRequest)
        self._people.count(person.caller)
        tokens = self._responses.estimated_input_tokens(body, person)
        return json_response({"object": "response.input_tokens", "input_tokens": tokens})

    def get(self, response_id: str) -> ResponseReturnValue:
        caller = self._people.caller()
        query = parse_fields(StoredResponseQuery, flask.request.args)
        return json_response(self._shelf.get(response_id, caller, query))

    def delete(self, response_id: str) -> ResponseReturnValue:
        self._shelf.delete(response_id, self._people.caller())
        return json_response({"id": response_id, "object": "response", "deleted": True})

    def cancel(self, response_id: str) -> ResponseReturnValue:
        raise self._shelf.refusal_to_cancel(response_id, self._people.caller())

    def list_input_items(self, response_id: str) -> ResponseReturnValue:
        caller = self._people.caller()
        listing = parse_fields(InputItemListing, flask.request.args)
        return json_response(self._shelf.list_input_items(response_id, caller, listing))


def responses_blueprint(views: ResponseViews) -> flask.Blueprint:
    """The routes below `/v1/responses`; callers see their own responses alone."""
    blueprint = flask.Blueprint("responses", __name__, url_prefix="/v1/responses")
    blueprint.post("")(views.create)
    blueprint.post("/input_tokens")(views.count_input_tokens)
    blueprint.get("/<response_id>")(views.get)
    blueprint.delete("/<response_id>")(views.delete)
    blueprint.post("/<response_id>/cancel")(views.cancel)
    blueprint.get("/<response_id>/input_items")(views.list_input_items)
    return blueprint
