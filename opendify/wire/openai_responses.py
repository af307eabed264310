"""`/v1/responses`: what clients send.

As with chats, only what decides an answer is validated; items of an unknown kind pass.

Source: https://platform.openai.com/docs/api-reference/responses
"""

from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictBool

from opendify.wire.openai_chat import AnswerRequest, Input


class _Shape(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)


class ConversationObject(_Shape):
    """A conversation; most clients give its id alone."""

    id: str


ConversationField = Annotated[
    ConversationObject,
    BeforeValidator(
        lambda value: {"id": value} if isinstance(value, str) else value,
        json_schema_input_type=str | ConversationObject,
    ),
]


class ResponseTextConfig(_Shape):
    """How the text is to look; the app decides that."""

    format: dict[str, object] | None = None


class ResponseReasoning(_Shape):
    """How much the model is to think; the app decides that."""

    effort: str | None = None
    summary: str | None = None


class ResponsesRequest(AnswerRequest):
    """The body. `input` may be left out where `previous_response_id` says what to go on with."""

    input: Input | None = None
    instructions: str | None = None
    previous_response_id: str | None = None
    conversation: ConversationField | None = None
    store: StrictBool | None = None
    background: StrictBool | None = None
    prompt: dict[str, object] | None = None
    text: ResponseTextConfig | None = None
    tool_choice: str | dict[str, object] | None = None
    safety_identifier: str | None = None
    reasoning: ResponseReasoning | None = None
    truncation: Literal["auto", "disabled"] | None = None
    max_output_tokens: int | None = None
    max_tool_calls: int | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None


class StoredResponseQuery(BaseModel):
    """The query for one response; `starting_after` says nothing without `stream`."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    stream: bool = False


class InputItemListing(BaseModel):
    """The query of a listing; `after` is the id of the last item of the page before."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    after: Annotated[str, Field(max_length=100)] | None = None
    limit: Annotated[int, Field(ge=1, le=100)] = 20
    order: Literal["asc", "desc"] = "desc"
