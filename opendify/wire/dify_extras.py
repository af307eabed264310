"""`/v1/dify/…`: what clients send, and what of Dify's answers they get, under Dify's names.

Everything is optional in what Dify sends, since versions differ. An agent's thoughts, the
inputs of a message and a moderation's words are left out: they may hold what is the app's own.
"""

import json
from email.utils import parsedate_to_datetime
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

_Limit = Annotated[int, Field(ge=1, le=100)]
_Id = Annotated[str, Field(max_length=64)]


class _Shape(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Whose(_Shape):
    """Every query: which app, and for which of the caller's people."""

    model: str = ""
    user: str | None = None
    conversation_id: _Id | None = None


class WithModel(Whose):
    """What nothing but its model can tell the app of."""

    model: str


class Rejoining(WithModel):
    """A stream that is taken up again; `include_usage` as in OpenAI's `stream_options`."""

    include_usage: bool = False


class ConversationListing(WithModel):
    """`last_id` is the last conversation of the page before."""

    last_id: _Id | None = None
    limit: _Limit = 20
    sort_by: Literal["created_at", "-created_at", "updated_at", "-updated_at"] = "-updated_at"


class MessageListing(Whose):
    """`first_id` is the first message of the page before: pages go backwards in time."""

    first_id: _Id | None = None
    limit: _Limit = 20


class NameRequest(_Shape):
    """A `name`, or `auto_generate`, for which a model is asked."""

    name: Annotated[str, Field(min_length=1, max_length=255)] | None = None
    auto_generate: bool = False
    user: str | None = None


class FeedbackRequest(_Shape):
    """`rating` of null takes it back."""

    rating: Literal["like", "dislike"] | None
    content: Annotated[str, Field(max_length=10_000)] | None = None
    user: str | None = None


class Switch(_Shape):
    """Whether a feature is on."""

    enabled: bool = False


class Voice(Switch):
    """How an app speaks."""

    voice: str | None = ""
    language: str | None = ""


class AppParameters(_Shape):
    """What a client needs to show an app. `user_input_form` is a list of objects with one key, the type."""

    opening_statement: str | None = ""
    suggested_questions: list[str] | None = None
    suggested_questions_after_answer: Switch = Switch()
    speech_to_text: Switch = Switch()
    text_to_speech: Voice = Voice()
    retriever_resource: Switch = Switch()
    user_input_form: list[dict[str, dict[str, object]]] | None = None
    file_upload: dict[str, object] | None = None
    system_parameters: dict[str, object] | None = None


class Conversation(_Shape):
    """One conversation; times are Unix seconds."""

    id: str
    name: str | None = None
    status: str | None = None
    introduction: str | None = None
    created_at: int | None = None
    updated_at: int | None = None


class Feedback(_Shape):
    """What a person thinks of a message."""

    rating: str | None = None


class Message(_Shape):
    """A question and its answer."""

    id: str
    conversation_id: str | None = None
    query: str | None = None
    answer: str | None = None
    feedback: Feedback | None = None
    status: str | None = None
    created_at: int | None = None


class ConversationPage(_Shape):
    """Some of a person's conversations."""

    limit: int = 0
    has_more: bool = False
    data: list[Conversation] = []


class MessagePage(_Shape):
    """Some of a conversation's messages, oldest first."""

    limit: int = 0
    has_more: bool = False
    data: list[Message] = []


class Suggestions(_Shape):
    """Questions that a person might ask next."""

    data: list[str] = []


class Result(_Shape):
    """`success`."""

    result: str = "success"


def _decoded(outputs: object) -> object:
    """Versions differ: the outputs come as an object, or as its JSON."""
    return json.loads(outputs) if isinstance(outputs, str) else outputs


def _seconds(time: object) -> object:
    """Versions differ: times come as Unix seconds, or as `Sun, 22 Nov 2026 10:32:08 -0000`."""
    return int(parsedate_to_datetime(time).timestamp()) if isinstance(time, str) else time


_Time = Annotated[int, BeforeValidator(_seconds)]


class WorkflowRun(_Shape):
    """One run of a workflow; `status` is `running`, `succeeded`, `failed`, `stopped` or the like."""

    id: str
    status: str
    outputs: Annotated[dict[str, object], BeforeValidator(_decoded)] | None = None
    error: str | None = None
    total_steps: int | None = None
    total_tokens: int | None = None
    created_at: _Time | None = None
    finished_at: _Time | None = None
    elapsed_time: float | None = None
