"""The shapes of answers, as `/openapi.json` tells them.

Nothing is made from these: answers are written by `translate` and the routes, and a test holds
what they write against these shapes. Only the document imports them.
"""

from typing import Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

Facts: TypeAlias = dict[str, object]
"""What differs from app to app, or from store to store."""


class AnswerShape(BaseModel):
    """What is answered; it is never changed."""

    model_config = ConfigDict(frozen=True)


class ErrorDetail(AnswerShape):
    """What went wrong: `code` is for programs, `param` the path of the field at fault."""

    message: str
    type: str
    param: str | None
    code: str | None


class Error(AnswerShape):
    """Every failure of every route; in a stream that has begun, one frame of the same shape."""

    error: ErrorDetail


class Usage(AnswerShape):
    """Tokens as Dify counts them; absent where it tells none."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class UrlCitation(AnswerShape):
    """A cited document that has a URL."""

    start_index: int
    end_index: int
    url: str
    title: str


class Annotation(AnswerShape):
    """One of OpenAI's annotations."""

    type: Literal["url_citation"]
    url_citation: UrlCitation


class Price(AnswerShape):
    """What the run cost, as Dify tells it."""

    total: str
    currency: str


class DifyExtension(AnswerShape):
    """What an app tells and OpenAI's shapes have no place for; what it does not tell is left out."""

    conversation_id: str | None = None
    message_id: str | None = None
    task_id: str | None = None
    citations: list[Facts] | None = None
    steps: list[Facts] | None = None
    files: list[Facts] | None = None
    price: Price | None = None
    outputs: Facts | None = None


class ChatAnswer(AnswerShape):
    """The assistant's message."""

    role: Literal["assistant"]
    content: str
    refusal: None
    reasoning_content: str | None = None
    annotations: list[Annotation] | None = None


class ChatChoice(AnswerShape):
    """The one choice."""

    index: int
    message: ChatAnswer
    logprobs: None
    finish_reason: Literal["stop", "length", "content_filter"]


class _Completion(AnswerShape):
    id: str
    created: int
    model: str
    usage: Usage | None = None
    dify: DifyExtension | None = None


class ChatCompletion(_Completion):
    """A whole answer."""

    object: Literal["chat.completion"]
    choices: list[ChatChoice]


class ChatDelta(AnswerShape):
    """What a chunk adds."""

    role: Literal["assistant"] | None = None
    content: str | None = None
    refusal: None = None
    reasoning_content: str | None = None
    annotations: list[Annotation] | None = None


class ChunkChoice(AnswerShape):
    """`finish_reason` stands in the last chunk of an answer that is whole."""

    index: int
    delta: ChatDelta
    logprobs: None
    finish_reason: Literal["stop", "length", "content_filter"] | None


class ChatCompletionChunk(_Completion):
    """The `data` of one event of a stream; the last chunk with `usage` has no choices."""

    object: Literal["chat.completion.chunk"]
    choices: list[ChunkChoice]


class TextChoice(AnswerShape):
    """The one choice."""

    index: int
    text: str
    logprobs: None
    finish_reason: Literal["stop", "length", "content_filter"] | None


class TextCompletion(_Completion):
    """A whole answer, and the `data` of one event of a stream."""

    object: Literal["text_completion"]
    choices: list[TextChoice]


class Model(AnswerShape):
    """One model; `dify` tells what is known of the app."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str
    dify: Facts | None = None


class ModelList(AnswerShape):
    """The models of the key."""

    object: Literal["list"]
    data: list[Model]


class File(AnswerShape):
    """A file of the caller; times are Unix seconds."""

    id: str
    object: Literal["file"]
    bytes: int
    created_at: int
    filename: str
    purpose: str
    status: Literal["processed"]
    expires_at: int | None = None


class FileList(AnswerShape):
    """A page of files."""

    object: Literal["list"]
    data: list[File]
    first_id: str
    last_id: str
    has_more: bool


class FileDeleted(AnswerShape):
    """The file is gone."""

    id: str
    object: Literal["file"]
    deleted: Literal[True]


class Transcript(AnswerShape):
    """What was said; the fields behind `text` only with `verbose_json`."""

    text: str
    task: Literal["transcribe"] | None = None
    language: str | None = None
    duration: float | None = None
    segments: list[Facts] | None = None


class About(AnswerShape):
    """What this is."""

    name: Literal["OpenDify"]
    version: str
    api: str


class Health(AnswerShape):
    """`store` is told by `/health/ready`."""

    status: Literal["ok", "draining", "unready"]
    store: Literal["ok", "unreachable"] | None = None


class ConversationCounts(AnswerShape):
    """Counts and ages of what is remembered."""

    mapping_count: int
    oldest_mapping: int | None
    newest_mapping: int | None
    oldest_age_seconds: int | None
    newest_age_seconds: int | None
    users: int
    turns: int
    by_model: dict[str, int]
    timestamp: int


class StoredConversation(AnswerShape):
    """One conversation: ids, counts and times; there is no text to show."""

    id: str
    webui_chat_id: str | None
    dify_conversation_id: str
    dify_message_id: str | None
    model: str
    caller: str
    user: str
    app_fingerprint: str
    turns: int
    created_at: int
    last_used: int
    age_hours: int


class RecentConversations(AnswerShape):
    """The conversations used last."""

    recent_mappings: list[StoredConversation]
    limit: int
    timestamp: int


class CleanedUp(AnswerShape):
    """How many were forgotten."""

    removed_count: int
    max_age_days: float
    timestamp: int


class StoreFacts(AnswerShape):
    """The kind of store, and what is known of it; kinds tell different things."""

    model_config = ConfigDict(frozen=True, extra="allow")

    mapping_count: int
    timestamp: int


class Optimized(AnswerShape):
    """Space was given back."""

    status: Literal["success"]
    message: str
    timestamp: int


class ConversationDeleted(AnswerShape):
    """One conversation is forgotten."""

    id: str
    deleted: Literal[True]
    deleted_at_dify: bool


class UserDeleted(AnswerShape):
    """`failures` are those that Dify did not delete, which stay."""

    user: str
    complete: bool
    deleted: int
    deleted_at_dify: int | None
    failures: list[Facts] = Field(default_factory=list)


class OpenApiDocument(AnswerShape):
    """This document."""

    model_config = ConfigDict(frozen=True, extra="allow")

    openapi: str
