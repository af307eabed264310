"""What Dify has and OpenAI lacks, below one prefix."""

import re
from typing import Final, TypeVar

import flask
from flask.typing import ResponseReturnValue
from pydantic import BaseModel

from opendify.conversations.identity import BodyIdentity
from opendify.errors import ConversationNotFound, MessageNotFound
from opendify.extras.conversations import ConversationExtras
from opendify.extras.rejoining import Rejoiner
from opendify.extras.workflow_runs import WorkflowRuns
from opendify.records import Caller
from opendify.routes.answers import event_stream, json_response, parse
from opendify.routes.people import People
from opendify.runs.person import Person
from opendify.wire.dify_extras import (
    ConversationListing,
    FeedbackRequest,
    MessageListing,
    NameRequest,
    Rejoining,
    Whose,
    WithModel,
)
from opendify.wire.openai_files import parse_fields

_UUID: Final = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_WhoseT = TypeVar("_WhoseT", bound=Whose)


def dify_blueprint(
    extras: ConversationExtras, runs: WorkflowRuns, rejoiner: Rejoiner, people: People
) -> flask.Blueprint:
    """The routes below `/v1/dify`; each takes a slot, since each waits for Dify."""
    blueprint = flask.Blueprint("dify", __name__, url_prefix="/v1/dify")
    routes = _Routes(extras, runs, rejoiner, people)
    blueprint.get("/models/<path:model>/parameters")(routes.show_parameters)
    blueprint.get("/conversations")(routes.list_conversations)
    blueprint.get("/conversations/<conversation_id>/messages")(routes.list_messages)
    blueprint.post("/conversations/<conversation_id>/name")(routes.rename)
    blueprint.get("/workflows/runs/<run_id>")(routes.find_run)
    blueprint.get("/workflows/runs/<run_id>/events")(routes.rejoin_run)
    blueprint.get("/messages/<message_id>/suggested")(routes.suggest)
    blueprint.post("/messages/<message_id>/feedback")(routes.rate)
    return blueprint


class _Routes:
    """One method a route."""

    def __init__(
        self, extras: ConversationExtras, runs: WorkflowRuns, rejoiner: Rejoiner, people: People
    ) -> None:
        self._extras = extras
        self._runs = runs
        self._rejoiner = rejoiner
        self._people = people

    def show_parameters(self, model: str) -> ResponseReturnValue:
        _, person = self._asked(Whose, self._people.caller())
        return _shape(self._extras.parameters(model, person))

    def list_conversations(self) -> ResponseReturnValue:
        listing, person = self._asked(ConversationListing, self._people.caller())
        return _shape(self._extras.list_conversations(listing, person))

    def list_messages(self, conversation_id: str) -> ResponseReturnValue:
        listing, person = self._asked(MessageListing, self._people.caller())
        return _shape(self._extras.list_messages(_conversation(conversation_id), listing, person))

    def rename(self, conversation_id: str) -> ResponseReturnValue:
        caller, request = self._people.caller(), parse(NameRequest)
        whose, person = self._asked(Whose, caller, request.user)
        return _shape(self._extras.rename(_conversation(conversation_id), request, whose.model, person))

    def suggest(self, message_id: str) -> ResponseReturnValue:
        whose, person = self._asked(Whose, self._people.caller())
        return _shape(self._extras.suggest(_message(message_id), whose, person))

    def rate(self, message_id: str) -> ResponseReturnValue:
        caller, request = self._people.caller(), parse(FeedbackRequest)
        whose, person = self._asked(Whose, caller, request.user)
        return _shape(self._extras.rate(_message(message_id), request, whose, person))

    def find_run(self, run_id: str) -> ResponseReturnValue:
        whose, person = self._asked(WithModel, self._people.caller())
        return _shape(self._runs.find(run_id, whose.model, person))

    def rejoin_run(self, run_id: str) -> ResponseReturnValue:
        asked, person = self._asked(Rejoining, self._people.caller())
        return event_stream(self._rejoiner.rejoin(run_id, asked, person))

    def _asked(self, query: type[_WhoseT], caller: Caller, user: str | None = None) -> tuple[_WhoseT, Person]:
        """The request's query, and for whom it is; a slot is taken."""
        whose = parse_fields(query, flask.request.args)
        person = self._people.person(caller, b"", BodyIdentity(user=user or whose.user))
        self._people.enter(person)
        return whose, person


def _conversation(written: str) -> str:
    if not _is_uuid(written):
        raise ConversationNotFound(
            "There is no such conversation; its id is the one in the header 'X-Dify-Conversation-Id'."
        )
    return written.lower()


def _message(written: str) -> str:
    if not _is_uuid(written):
        raise MessageNotFound(
            "There is no such message; its id is the one in the header 'X-Dify-Message-Id'."
        )
    return written.lower()


def _is_uuid(written: str) -> bool:
    """Whether Dify could have made this id; others would reach paths that are not meant."""
    return _UUID.fullmatch(written) is not None


def _shape(answer: BaseModel) -> ResponseReturnValue:
    return json_response(answer.model_dump())
