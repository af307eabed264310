"""Answers in the form of the Responses API: begun, gone on from, and kept."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from msgspec import structs

from opendify.conversations.identity import Place, dify_user
from opendify.errors import InvalidRequest
from opendify.gateway import Gateway, WholeAnswer
from opendify.records import Clock
from opendify.responses.keeping import Json, KeptResponse, KeptResponses
from opendify.responses.references import with_items
from opendify.runs.person import Person
from opendify.runs.reply_stream import ReplyStream
from opendify.translate.openai_responses import (
    ID_PREFIX,
    read_response_turn,
    response_head,
    whole_response,
)
from opendify.translate.reply_writer import Shape
from opendify.translate.response_input import input_shapes, messages_of
from opendify.translate.response_tokens import estimated_tokens
from opendify.translate.response_writer import ResponseWriter
from opendify.translate.turn import ReplyStarted, Turn
from opendify.wire.openai_chat import ChatMessage
from opendify.wire.openai_responses import ResponsesRequest


@dataclass(frozen=True, slots=True)
class _Asked:
    """A request, for whom it is, and what was said up to the response from which it goes on."""

    request: ResponsesRequest
    person: Person
    earlier: Sequence[ChatMessage] = ()

    @property
    def turn(self) -> Turn:
        """What is asked of the app."""
        return read_response_turn(self.request, self.earlier)


class Responses:
    """Answers through the gateway, as chats are, and keeps what is to be kept."""

    def __init__(self, gateway: Gateway, kept: KeptResponses, *, user_prefix: str, now: Clock) -> None:
        """`now` is Unix time."""
        self._gateway = gateway
        self._kept = kept
        self._user_prefix = user_prefix
        self._now = now

    def stream(self, request: ResponsesRequest, person: Person) -> ReplyStream:
        """Events; `frames` of the result must be closed.

        Raises:
            InvalidRequest: It cannot be served, or `previous_response_id` is not known.
            ResponsesUnavailable: Whether it is known cannot be found out.
        """
        asked = self._asked(request, person)
        make_writer = partial(self._writer, asked)
        return self._gateway.stream(request, asked.turn, make_writer, ID_PREFIX, asked.person)

    def create(self, request: ResponsesRequest, person: Person) -> WholeAnswer:
        """A whole response; raises as `stream` does."""
        asked = self._asked(request, person)
        collected = self._gateway.collect(request, asked.turn, ID_PREFIX, asked.person)
        head = self._head(asked, collected.id, collected.created)
        body = whole_response(head, collected.reply, completed_at=int(self._now()))
        if on_ended := self._on_ended(asked):
            on_ended(body, collected.reply.started)
        return WholeAnswer(body, collected.reply.started, collected.memory_was_lost)

    def estimated_input_tokens(self, request: ResponsesRequest, person: Person) -> int:
        """See `estimated_tokens`; raises as `stream` does."""
        self._gateway.find_app(request.model or "", person.caller)
        return estimated_tokens(self._asked(request, person).turn)

    def _asked(self, request: ResponsesRequest, person: Person) -> _Asked:
        if isinstance(request.input, list):
            known = partial(self._find, person)
            request = request.model_copy(update={"input": with_items(request.input, known)})
        if not request.previous_response_id or request.conversation:
            return _Asked(request, person)
        lineage = self._kept.lineage(request.previous_response_id, person.caller.id)
        if not lineage or not _is_for(person, lineage[-1]):
            raise InvalidRequest(
                f"Previous response with id {request.previous_response_id[:100]!r} not found.",
                param="previous_response_id",
                code="previous_response_not_found",
            )
        previous = lineage[-1]
        context = structs.replace(
            person.context,
            user=person.context.user or previous.person,
            follows=Place(previous.conversation_id, previous.message_id),
        )
        earlier = [message for kept in lineage for message in messages_of([*kept.input, *kept.output])]
        return _Asked(request, structs.replace(person, context=context), earlier)

    def _find(self, person: Person, response_id: str) -> KeptResponse | None:
        kept = self._kept.find(response_id, person.caller.id)
        return kept if kept and _is_for(person, kept) else None

    def _writer(self, asked: _Asked, response_id: str, created: int) -> ResponseWriter:
        head = self._head(asked, response_id, created)
        return ResponseWriter(head, now=self._now, on_ended=self._on_ended(asked))

    def _head(self, asked: _Asked, response_id: str, created: int) -> Shape:
        is_stored = self._is_stored(asked)
        return response_head(asked.request, response_id=response_id, created=created, is_stored=is_stored)

    def _is_stored(self, asked: _Asked) -> bool:
        is_wanted = asked.request.store is not False and not asked.person.context.is_temporary
        return self._kept.are_kept and is_wanted

    def _on_ended(self, asked: _Asked) -> Callable[[Shape, ReplyStarted], None] | None:
        return partial(self._keep, asked) if self._is_stored(asked) else None

    def _keep(self, asked: _Asked, response: Shape, started: ReplyStarted) -> None:
        context, caller = asked.person.context, asked.person.caller
        body: Json = dict(response)
        kept = KeptResponse(
            response=body,
            input=input_shapes(asked.request.input, str(body["id"])),
            caller=caller.id,
            person=context.user,
            conversation_id=started.conversation_id or "",
            message_id=started.message_id or "",
        )
        self._kept.keep(kept, dify_user(context, caller, self._user_prefix))


def _is_for(person: Person, kept: KeptResponse) -> bool:
    """Whether the request is of the same person, as far as both name one."""
    user = person.context.user
    return not (user and kept.person) or user == kept.person
