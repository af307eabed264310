"""The input of a response as it is kept and shown: items with ids, files without their contents."""

from collections.abc import Sequence

from opendify.translate.openai_messages import messages_from_items
from opendify.translate.openai_responses import item_id
from opendify.wire.openai_chat import (
    ChatMessage,
    ContentPart,
    FilePart,
    FileSource,
    ImagePart,
    InputAudioPart,
    InputFilePart,
    InputImagePart,
    InputItem,
    RefusalPart,
    TextPart,
)

Json = dict[str, object]
"""A JSON object."""

_NAMELESS_URI = "data:"


def input_shapes(items: str | Sequence[InputItem] | None, response_id: str) -> list[Json]:
    """The messages of a request's `input`, in their order; what says nothing is left out."""
    messages = messages_from_items(items or [])
    shapes = [_message_shape(message) for message in messages if message.content]
    return [{"id": item_id("msg", response_id, number), **shape} for number, shape in enumerate(shapes, 1)]


def messages_of(items: Sequence[Json]) -> list[ChatMessage]:
    """Items of a kept response, of its input or of its output, as messages."""
    return messages_from_items([InputItem.model_validate(item) for item in items])


def _message_shape(message: ChatMessage) -> Json:
    # The API has no message of a tool, and what it said needs the call's id, which nobody made here.
    parts = message.content if isinstance(message.content, list) else []
    if isinstance(message.content, str):
        parts = [TextPart(type="text", text=message.content)]
    kind = "output_text" if message.role == "assistant" else "input_text"
    return {
        "type": "message",
        "role": message.role,
        "status": "completed",
        "content": [_part_shape(part, kind) for part in parts],
    }


def _part_shape(part: ContentPart, text_kind: str) -> Json:
    match part:
        case TextPart():
            more: Json = {"annotations": [], "logprobs": []} if text_kind == "output_text" else {}
            return {"type": text_kind, "text": part.text, **more}
        case RefusalPart():
            return {"type": "refusal", "refusal": part.refusal}
        case ImagePart():
            return _image_shape(part.image_url.url, None)
        case InputImagePart():
            return _image_shape(part.image_url.url if part.image_url else None, part.file_id)
        case InputAudioPart():
            return {"type": "input_audio", "input_audio": {"data": "", "format": part.input_audio.format}}
        case FilePart():
            return _file_shape(part.file)
        case InputFilePart():
            return _file_shape(part)


def _image_shape(url: str | None, file_id: str | None) -> Json:
    return {"type": "input_image", "detail": "auto", "image_url": url and _kept_url(url), "file_id": file_id}


def _file_shape(source: FileSource) -> Json:
    shape = {
        "type": "input_file",
        "filename": source.filename,
        "file_id": source.file_id,
        "file_url": source.file_url and _kept_url(source.file_url),
        "file_data": source.file_data and _NAMELESS_URI,
    }
    return {name: value for name, value in shape.items() if value is not None}


def _kept_url(url: str) -> str:
    """An address stays; of a file in its place only the media type does."""
    return f"{url.partition(',')[0]}," if url.startswith("data:") else url
