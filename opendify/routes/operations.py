"""What each route is for, what it is sent and what it answers: the contents of `/openapi.json`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from pydantic import BaseModel

from opendify.routes.admin import CleanupRequest
from opendify.translate.parameters import CHAT_COMPLETION_PARAMETERS, COMPLETION_PARAMETERS, Parameter
from opendify.translate.response_parameters import RESPONSE_PARAMETERS
from opendify.wire import answers, dify_extras, response_answers
from opendify.wire.openai_audio import SpeechRequest, TranscriptionRequest
from opendify.wire.openai_chat import ChatCompletionRequest
from opendify.wire.openai_completions import CompletionRequest
from opendify.wire.openai_files import FileListing, FileUpload
from opendify.wire.openai_responses import InputItemListing, ResponsesRequest, StoredResponseQuery

Access = Literal["everybody", "caller", "probe", "admin"]
Media = str | type[BaseModel]
"""A media type whose content is no JSON, or the shape of JSON."""


@dataclass(frozen=True, kw_only=True)
class Operation:
    """One method of one path.

    `form` is a form with a `file` beside the shape's fields. `answer` is of status 200, `events` the
    `data` of one event where it is a stream. `query` is what the URL may hold, as a shape or by name.
    """

    tag: str
    summary: str
    access: Access = "caller"
    body: type[BaseModel] | None = None
    form: type[BaseModel] | None = None
    query: type[BaseModel] | Mapping[str, Mapping[str, object]] | None = None
    answer: Media | tuple[Media, ...]
    events: type[BaseModel] | None = None
    parameters: tuple[Parameter, ...] = ()


_CHAT, _RESPONSES, _FILES, _AUDIO = "Chats and completions", "Responses", "Files", "Speech"
_DIFY, _OPERATORS, _SERVICE = "Dify's extras", "For operators", "The service"
_BINARY: Final = "application/octet-stream"
_AT_DIFY: Final = {
    "dify": {"type": "boolean", "default": False, "description": "Delete it in Dify first."},
}

OPERATIONS: Final[Mapping[str, Operation]] = {
    "POST /v1/chat/completions": Operation(
        tag=_CHAT,
        summary="Answer a chat, whole or as a stream",
        body=ChatCompletionRequest,
        answer=answers.ChatCompletion,
        events=answers.ChatCompletionChunk,
        parameters=CHAT_COMPLETION_PARAMETERS,
    ),
    "POST /v1/completions": Operation(
        tag=_CHAT,
        summary="Answer a prompt, whole or as a stream",
        body=CompletionRequest,
        answer=answers.TextCompletion,
        events=answers.TextCompletion,
        parameters=COMPLETION_PARAMETERS,
    ),
    "POST /v1/responses": Operation(
        tag=_RESPONSES,
        summary="Answer with a response, whole or as a stream",
        body=ResponsesRequest,
        answer=response_answers.Response,
        events=response_answers.ResponseStreamEvent,
        parameters=RESPONSE_PARAMETERS,
    ),
    "POST /v1/responses/input_tokens": Operation(
        tag=_RESPONSES,
        summary="Estimate the tokens of a request's own words",
        body=ResponsesRequest,
        answer=response_answers.InputTokens,
    ),
    "GET /v1/responses/{response_id}": Operation(
        tag=_RESPONSES,
        summary="Show a response that is kept",
        query=StoredResponseQuery,
        answer=response_answers.Response,
    ),
    "DELETE /v1/responses/{response_id}": Operation(
        tag=_RESPONSES, summary="Forget a response", answer=response_answers.ResponseDeleted
    ),
    "POST /v1/responses/{response_id}/cancel": Operation(
        tag=_RESPONSES, summary="Always refused: what is kept has ended", answer=()
    ),
    "GET /v1/responses/{response_id}/input_items": Operation(
        tag=_RESPONSES,
        summary="List what a response answered",
        query=InputItemListing,
        answer=response_answers.InputItemList,
    ),
    "GET /v1/models": Operation(
        tag=_CHAT,
        summary="List the models of the key; without a key an empty list",
        access="probe",
        answer=answers.ModelList,
    ),
    "GET /v1/models/{model}": Operation(tag=_CHAT, summary="Show one model", answer=answers.Model),
    "POST /v1/files": Operation(tag=_FILES, summary="Keep a file", form=FileUpload, answer=answers.File),
    "GET /v1/files": Operation(
        tag=_FILES, summary="List the key's files", query=FileListing, answer=answers.FileList
    ),
    "GET /v1/files/{file_id}": Operation(tag=_FILES, summary="Show a file's facts", answer=answers.File),
    "GET /v1/files/{file_id}/content": Operation(
        tag=_FILES,
        summary="Fetch a file; a signed link needs no key",
        query={"token": {"type": "string", "description": "The signature of a link that was given out."}},
        answer=_BINARY,
    ),
    "DELETE /v1/files/{file_id}": Operation(tag=_FILES, summary="Delete a file", answer=answers.FileDeleted),
    "POST /v1/audio/transcriptions": Operation(
        tag=_AUDIO,
        summary="Write down what a recording says",
        form=TranscriptionRequest,
        answer=(answers.Transcript, "text/plain", "text/event-stream"),
    ),
    "POST /v1/audio/translations": Operation(
        tag=_AUDIO, summary="Always refused: Dify does not translate recordings", answer=()
    ),
    "POST /v1/audio/speech": Operation(
        tag=_AUDIO,
        summary="Speak a text, or read an answer aloud",
        body=SpeechRequest,
        answer=("audio/mpeg", "audio/wav", "text/event-stream"),
    ),
    "GET /v1/dify/models/{model}/parameters": Operation(
        tag=_DIFY,
        summary="Show what an app needs and can",
        query=dify_extras.Whose,
        answer=dify_extras.AppParameters,
    ),
    "GET /v1/dify/conversations": Operation(
        tag=_DIFY,
        summary="List a person's conversations",
        query=dify_extras.ConversationListing,
        answer=dify_extras.ConversationPage,
    ),
    "GET /v1/dify/conversations/{conversation_id}/messages": Operation(
        tag=_DIFY,
        summary="List a conversation's messages",
        query=dify_extras.MessageListing,
        answer=dify_extras.MessagePage,
    ),
    "POST /v1/dify/conversations/{conversation_id}/name": Operation(
        tag=_DIFY,
        summary="Rename a conversation",
        body=dify_extras.NameRequest,
        query=dify_extras.Whose,
        answer=dify_extras.Conversation,
    ),
    "GET /v1/dify/messages/{message_id}/suggested": Operation(
        tag=_DIFY,
        summary="List questions that a person might ask next",
        query=dify_extras.Whose,
        answer=dify_extras.Suggestions,
    ),
    "POST /v1/dify/messages/{message_id}/feedback": Operation(
        tag=_DIFY,
        summary="Say what a person thinks of a message",
        body=dify_extras.FeedbackRequest,
        query=dify_extras.Whose,
        answer=dify_extras.Result,
    ),
    "GET /v1/dify/workflows/runs/{run_id}": Operation(
        tag=_DIFY,
        summary="Show what became of a workflow's run",
        query=dify_extras.Whose,
        answer=dify_extras.WorkflowRun,
    ),
    "GET /v1/dify/workflows/runs/{run_id}/events": Operation(
        tag=_DIFY,
        summary="Take up a stream that was dropped",
        query=dify_extras.Rejoining,
        answer=(),
        events=answers.ChatCompletionChunk,
    ),
    "GET /v1/conversation/mappings": Operation(
        tag=_OPERATORS,
        summary="Count what is remembered",
        access="admin",
        answer=answers.ConversationCounts,
    ),
    "GET /v1/conversation/recent": Operation(
        tag=_OPERATORS,
        summary="List the conversations used last",
        access="admin",
        query={"limit": {"type": "integer", "minimum": 1, "maximum": 1000, "default": 10}},
        answer=answers.RecentConversations,
    ),
    "POST /v1/conversation/cleanup": Operation(
        tag=_OPERATORS,
        summary="Forget what was not used for long",
        access="admin",
        body=CleanupRequest,
        answer=answers.CleanedUp,
    ),
    "GET /v1/conversation/database/info": Operation(
        tag=_OPERATORS, summary="Describe the store", access="admin", answer=answers.StoreFacts
    ),
    "POST /v1/conversation/database/optimize": Operation(
        tag=_OPERATORS, summary="Give back space", access="admin", answer=answers.Optimized
    ),
    "DELETE /v1/conversation/mappings/{stored_id}": Operation(
        tag=_OPERATORS,
        summary="Forget one conversation",
        access="admin",
        query=_AT_DIFY,
        answer=answers.ConversationDeleted,
    ),
    "DELETE /v1/conversation/users/{user}": Operation(
        tag=_OPERATORS,
        summary="Forget all of a user",
        access="admin",
        query={
            **_AT_DIFY,
            "key": {"type": "string", "description": "The key by which its client names the person."},
        },
        answer=answers.UserDeleted,
    ),
    "GET /metrics": Operation(
        tag=_SERVICE, summary="Numbers for Prometheus", access="admin", answer="text/plain"
    ),
    "GET /": Operation(tag=_SERVICE, summary="Name and version", access="everybody", answer=answers.About),
    "GET /health": Operation(
        tag=_SERVICE, summary="Is the process alive?", access="everybody", answer=answers.Health
    ),
    "GET /health/live": Operation(
        tag=_SERVICE, summary="Is the process alive?", access="everybody", answer=answers.Health
    ),
    "GET /health/ready": Operation(
        tag=_SERVICE,
        summary="May requests be sent here? 503 if not",
        access="everybody",
        answer=answers.Health,
    ),
    "GET /openapi.json": Operation(
        tag=_SERVICE, summary="This document", access="everybody", answer=answers.OpenApiDocument
    ),
}
