"""A person's own conversations and messages at Dify, and what an app says of itself."""

from collections.abc import Mapping
from typing import TypeVar
from urllib.parse import urlencode

from pydantic import BaseModel, ValidationError

from opendify.dify.calls import DifyCall
from opendify.errors import DifyError, InvalidRequest
from opendify.owners import Owner
from opendify.runs.calls import CallTools
from opendify.runs.person import Person
from opendify.settings import DifyApp
from opendify.translate.dify_request import has_conversations
from opendify.wire.dify_extras import (
    AppParameters,
    Conversation,
    ConversationListing,
    ConversationPage,
    FeedbackRequest,
    MessageListing,
    MessagePage,
    NameRequest,
    Result,
    Suggestions,
    Whose,
)

_ShapeT = TypeVar("_ShapeT", bound=BaseModel)


class ConversationExtras:
    """Asks Dify as the person, so that Dify itself refuses what is another's.

    Every method may raise `InvalidRequest` where the app has no conversations, what
    `Owners` raises, and whatever Dify's refusal becomes.
    """

    def __init__(self, tools: CallTools) -> None:
        self._owners = tools.owners
        self._discovery = tools.discovery
        self._calls = tools.calls

    def parameters(self, model: str, person: Person) -> AppParameters:
        """What the model's app says of itself; inputs that no request may set are left out."""
        owner = self._owners.of_person(model, person.caller, person.context)
        call = DifyCall("GET", "/parameters")
        told = self._ask(AppParameters, owner.app, call, person)
        form = [
            field for field in told.user_input_form or [] if not _is_locked(field, owner.app.locked_inputs)
        ]
        return told.model_copy(update={"user_input_form": form})

    def list_conversations(self, listing: ConversationListing, person: Person) -> ConversationPage:
        """The person's conversations with one app."""
        owner = self._owners.of_person(listing.model, person.caller, person.context)
        self._require_conversations(owner)
        wanted = listing.model_dump(include={"last_id", "limit", "sort_by"}, exclude_none=True)
        call = DifyCall("GET", f"/conversations?{urlencode({'user': owner.user, **wanted})}")
        return self._ask(ConversationPage, owner.app, call, person)

    def list_messages(self, conversation_id: str, listing: MessageListing, person: Person) -> MessagePage:
        """A page of a conversation, the newest first."""
        owner = self._owner(conversation_id, listing.model, person)
        wanted = listing.model_dump(include={"first_id", "limit"}, exclude_none=True)
        query = {"conversation_id": conversation_id, "user": owner.user, **wanted}
        return self._ask(MessagePage, owner.app, DifyCall("GET", f"/messages?{urlencode(query)}"), person)

    def rename(self, conversation_id: str, request: NameRequest, model: str, person: Person) -> Conversation:
        """The conversation under its new name; one that a model finds is paid for."""
        if not (request.name or request.auto_generate):
            raise InvalidRequest(
                "Missing required parameter: 'name', or 'auto_generate': true.",
                param="name",
                code="missing_required_parameter",
            )
        owner = self._owner(conversation_id, model, person)
        name = {"auto_generate": True} if request.auto_generate else {"name": request.name}
        call = DifyCall("POST", f"/conversations/{conversation_id}/name", {**name, "user": owner.user})
        return self._ask(Conversation, owner.app, call, person, is_paid=request.auto_generate)

    def suggest(self, message_id: str, whose: Whose, person: Person) -> Suggestions:
        """What might be asked after a message; a model is asked for it, and paid."""
        owner = self._owner(_conversation(whose, person), whose.model, person)
        call = DifyCall("GET", f"/messages/{message_id}/suggested?{urlencode({'user': owner.user})}")
        return self._ask(Suggestions, owner.app, call, person, is_paid=True)

    def rate(self, message_id: str, request: FeedbackRequest, whose: Whose, person: Person) -> Result:
        """Tell Dify what the person thinks of a message."""
        conversation_id = _conversation(whose, person)
        owner = self._owners.of_conversation(conversation_id, whose.model, person.caller, person.context)
        if self._discovery.profile(owner.app).mode == "workflow":
            raise InvalidRequest(
                f"The app behind the model {owner.app.name!r} is a workflow, whose runs take no feedback.",
                param="model",
                code="unsupported_value",
            )
        content = {"content": request.content} if request.content is not None else {}
        body = {"rating": request.rating, **content, "user": owner.user}
        call = DifyCall("POST", f"/messages/{message_id}/feedbacks", body)
        return self._ask(Result, owner.app, call, person)

    def _owner(self, conversation_id: str, model: str, person: Person) -> Owner:
        owner = self._owners.of_conversation(conversation_id, model, person.caller, person.context)
        self._require_conversations(owner)
        return owner

    def _require_conversations(self, owner: Owner) -> None:
        if not has_conversations(self._discovery.profile(owner.app).mode):
            raise InvalidRequest(
                f"The app behind the model {owner.app.name!r} has no conversations.",
                param="model",
                code="unsupported_value",
            )

    def _ask(
        self, shape: type[_ShapeT], app: DifyApp, call: DifyCall, person: Person, *, is_paid: bool = False
    ) -> _ShapeT:
        person.observation.model = app.name
        answer = self._calls.read_json(app, call, person.client, is_paid=is_paid)
        try:
            return shape.model_validate(answer)
        except ValidationError as error:
            raise DifyError("Dify answered in a form that is not known") from error


def _conversation(whose: Whose, person: Person) -> str:
    """The conversation that the query or the header names, by which its app is found."""
    return whose.conversation_id or person.context.conversation_id


def _is_locked(field: Mapping[str, Mapping[str, object]], locked: frozenset[str]) -> bool:
    return any(variable.get("variable") in locked for variable in field.values())
