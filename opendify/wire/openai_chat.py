"""`POST /v1/chat/completions`: what clients send.

Only what decides an answer is validated. Unknown fields, unknown message keys and
explicit nulls pass, since real clients send dozens of them.

Source: https://platform.openai.com/docs/api-reference/chat/create
"""

from typing import Annotated, Final, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    StrictBool,
    Tag,
    model_validator,
)

# More than any client sends: beyond it a request is a mistake, or an attack. JSON may be 200 levels deep.
MOST_MESSAGES: Final = 10_000
MOST_PARTS: Final = 1_000
MOST_STOP_SEQUENCES: Final = 4

Role = Literal["system", "developer", "user", "assistant", "tool", "function"]


class _Shape(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)


def _object_with(key: str, shape: type[_Shape]) -> BeforeValidator:
    """Older clients give a bare string where an object with one key is meant."""
    return BeforeValidator(
        lambda value: {key: value} if isinstance(value, str) else value, json_schema_input_type=str | shape
    )


class TextPart(_Shape):
    """Text; `input_text` and `output_text` are the Responses API's names, which Cursor sends here."""

    type: Literal["text", "input_text", "output_text"]
    text: str


class RefusalPart(_Shape):
    """An earlier refusal of the assistant."""

    type: Literal["refusal"]
    refusal: str


class ImageURL(_Shape):
    """`url` is http(s) or a `data:` URI, of any media type."""

    url: str


class ImagePart(_Shape):
    """A picture; Dify as a client puts audio and video here too."""

    type: Literal["image_url"]
    image_url: Annotated[ImageURL, _object_with("url", ImageURL)]


class InputImagePart(_Shape):
    """A picture in the Responses API's form: by its URL, or one that was uploaded."""

    type: Literal["input_image"]
    image_url: Annotated[ImageURL, _object_with("url", ImageURL)] | None = None
    file_id: str | None = None


class InputAudio(_Shape):
    """`data` is base64."""

    data: str
    format: Annotated[str, Field(pattern=r"^[A-Za-z0-9]{1,16}$")] = "wav"


class InputAudioPart(_Shape):
    """Recorded speech."""

    type: Literal["input_audio"]
    input_audio: InputAudio


class FileSource(_Shape):
    """`file_data` is a `data:` URI or bare base64."""

    file_data: str | None = None
    file_id: str | None = None
    file_url: str | None = None
    filename: str | None = None


class FilePart(_Shape):
    """A document."""

    type: Literal["file"]
    file: FileSource


class InputFilePart(FileSource):
    """A document in the Responses API's form."""

    type: Literal["input_file"]


ContentPart = Annotated[
    TextPart | RefusalPart | ImagePart | InputImagePart | InputAudioPart | FilePart | InputFilePart,
    Field(discriminator="type"),
]


def _content_kind(content: object) -> str:
    return "<parts>" if isinstance(content, list) else "<text>"


Content = Annotated[
    # No client names a key like these tags, so that an error's path can leave them out.
    Annotated[str, Tag("<text>")]
    | Annotated[list[ContentPart], Field(max_length=MOST_PARTS), Tag("<parts>")],
    Discriminator(_content_kind),
]


class ChatMessage(_Shape):
    """One message; `content` may be null or absent where the role allows it."""

    role: Role
    content: Content | None = None


_REFERENCE = "item_reference"
_TOOL_OUTPUTS = ("function_call_output", "custom_tool_call_output")


class InputItem(_Shape):
    """An item of a Responses-shaped body; of what neither speaks nor answers a call only the type is read.

    `id` is that of the item which a reference stands for.
    """

    type: str = "message"
    id: str | None = None
    role: Role | None = None
    content: Content | None = None

    @model_validator(mode="before")
    @classmethod
    def _pass_over_other_types(cls, item: object) -> object:
        if not isinstance(item, dict):
            return item
        kind = item.get("type") or ("message" if "role" in item or "id" not in item else _REFERENCE)
        if kind == "message":
            return {"type": kind, "role": item.get("role"), "content": item.get("content")}
        if kind == _REFERENCE:
            return {"type": kind, "id": item.get("id")}
        if kind in _TOOL_OUTPUTS and isinstance(item.get("output"), str | list):
            return {"type": kind, "role": "tool", "content": item["output"]}
        return {"type": kind}


Input = Annotated[
    Annotated[str, Tag("<text>")]
    | Annotated[list[InputItem], Field(min_length=1, max_length=MOST_MESSAGES), Tag("<parts>")],
    Discriminator(_content_kind),
]


class StreamOptions(_Shape):
    """`include_obfuscation` is accepted, and never used."""

    include_usage: StrictBool | None = None


class UserObject(_Shape):
    """Open WebUI sends `user` as an object to models that have a `pipeline`."""

    id: str | None = None


UserField = Annotated[UserObject, _object_with("id", UserObject)]
_StopSequence = Annotated[str, Field(max_length=1_000)]
Stop = Annotated[
    list[_StopSequence],
    BeforeValidator(
        lambda stop: [stop] if isinstance(stop, str) else stop,
        json_schema_input_type=_StopSequence
        | Annotated[list[_StopSequence], Field(max_length=MOST_STOP_SEQUENCES)],
    ),
    Field(max_length=MOST_STOP_SEQUENCES),
]


class AnswerRequest(_Shape):
    """What the bodies of all endpoints share that an app's run answers."""

    model: str | None = None
    stream: StrictBool | None = None
    # Names of a chat; what is no name is passed over, since clients put other things there too.
    conversation_id: object = None
    chat_id: object = None
    session_id: object = None
    prompt_cache_key: object = None
    metadata: object = None
    stream_options: StreamOptions | None = None
    stop: Stop | None = None
    user: UserField | None = None
    inputs: dict[str, object] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None


class SamplingParameters(AnswerRequest):
    """What both completion endpoints check, and an app decides itself."""

    n: Annotated[int, Field(ge=1, le=128)] | None = None
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    max_tokens: int | None = None
    seed: int | None = None


class ChatCompletionRequest(SamplingParameters):
    """The body; `input` stands in for `messages` in Responses-shaped bodies."""

    messages: Annotated[list[ChatMessage], Field(min_length=1, max_length=MOST_MESSAGES)] | None = None
    input: Input | None = None
    instructions: str | None = None
    safety_identifier: str | None = None
    max_completion_tokens: int | None = None
    modalities: list[str] | None = None
    response_format: dict[str, object] | None = None
    tool_choice: str | dict[str, object] | None = None
    function_call: str | dict[str, object] | None = None
    logprobs: StrictBool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
