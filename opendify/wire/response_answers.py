"""The shapes of responses, as `/openapi.json` tells them; see `answers`."""

from typing import Literal

from opendify.wire.answers import AnswerShape, DifyExtension, Facts, UrlCitation


class FlatCitation(UrlCitation):
    """A cited document that has a URL; in chats the facts lie one level deeper."""

    type: Literal["url_citation"]


class OutputText(AnswerShape):
    """The answer's one part."""

    type: Literal["output_text"]
    text: str
    annotations: list[FlatCitation]
    logprobs: list[Facts]


class SummaryText(AnswerShape):
    """Thoughts."""

    type: Literal["summary_text"]
    text: str


class OutputMessage(AnswerShape):
    """The answer."""

    id: str
    type: Literal["message"]
    status: Literal["in_progress", "completed", "incomplete"]
    role: Literal["assistant"]
    content: list[OutputText]


class ReasoningItem(AnswerShape):
    """What the model thought, and the names of tools and nodes at work."""

    id: str
    type: Literal["reasoning"]
    summary: list[SummaryText]


class InputTokensDetails(AnswerShape):
    """Not told by Dify: 0."""

    cached_tokens: int
    cache_write_tokens: int


class OutputTokensDetails(AnswerShape):
    """Not told by Dify: 0."""

    reasoning_tokens: int


class ResponseUsage(AnswerShape):
    """Tokens as Dify counts them; absent where it tells none."""

    input_tokens: int
    input_tokens_details: InputTokensDetails
    output_tokens: int
    output_tokens_details: OutputTokensDetails
    total_tokens: int


class ResponseError(AnswerShape):
    """Why a stream broke off."""

    code: Literal["server_error", "rate_limit_exceeded"]
    message: str


class IncompleteDetails(AnswerShape):
    """Why an answer was cut."""

    reason: Literal["content_filter"]


class ConversationReference(AnswerShape):
    """The client's own name for the chat, or Dify's."""

    id: str


class ReasoningEcho(AnswerShape):
    """As the request said it."""

    effort: str | None
    summary: str | None


class TextConfig(AnswerShape):
    """Always plain text."""

    format: dict[str, str]


class Response(AnswerShape):
    """A response; `completed` alone says that the answer is whole."""

    id: str
    object: Literal["response"]
    created_at: int
    completed_at: int | None = None
    status: Literal["in_progress", "completed", "incomplete", "failed"]
    background: Literal[False]
    error: ResponseError | None
    incomplete_details: IncompleteDetails | None
    instructions: str | None
    max_output_tokens: int | None
    max_tool_calls: int | None
    model: str
    output: list[OutputMessage | ReasoningItem]
    parallel_tool_calls: bool
    previous_response_id: str | None
    conversation: ConversationReference | None
    reasoning: ReasoningEcho
    store: bool
    temperature: float | None
    text: TextConfig
    tool_choice: str
    tools: list[Facts]
    top_p: float | None
    truncation: Literal["auto", "disabled"]
    metadata: dict[str, str]
    usage: ResponseUsage | None = None
    dify: DifyExtension | None = None


class ResponseStreamEvent(AnswerShape):
    """The `data` of one event; what it tells beside these depends on its `type`."""

    type: str
    sequence_number: int
    response: Response | None = None


class ResponseDeleted(AnswerShape):
    """The response is forgotten."""

    id: str
    object: Literal["response"]
    deleted: Literal[True]


class InputItemList(AnswerShape):
    """A page of what a response answered."""

    object: Literal["list"]
    data: list[Facts]
    first_id: str
    last_id: str
    has_more: bool


class InputTokens(AnswerShape):
    """An estimate."""

    object: Literal["response.input_tokens"]
    input_tokens: int
