"""Where clients look for thinking and sources: each reader here does what that client's own code does.

Sources:
    Open WebUI 0.12.4, `backend/open_webui/utils/middleware.py`: `delta.reasoning_content`, and of
    `delta.annotations` each with `type == 'url_citation'` its `url_citation.url` and `.title`.
    LobeChat at 0a3ba5d, `packages/model-runtime/src/core/streams/openai/openai.ts`: a chunk with
    `finish_reason` is looked at for `delta.annotations[].url_citation`, and for nothing else of its delta but
    `content`; any other for `delta.reasoning_content`, where `content` is null or empty.
    AI SDK: see `tests/sdk/test_node.py`, which runs it.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from opendify.translate.openai_chat import ChatChoice, chat_completion
from opendify.translate.reply_writer import ReplyWriter
from opendify.translate.turn import (
    Citation,
    Citations,
    Reply,
    ReplyEnded,
    ReplyEvent,
    ReplyStarted,
    TextDelta,
    ThoughtDelta,
    collect_reply,
)

PAGE = Citation(position=1, document_name="Handbook", url="https://example.com/handbook")
UNNAMED = Citation(position=2, url="https://example.com/unnamed")
FILE = Citation(position=3, document_name="secret.pdf")
EVENTS: tuple[ReplyEvent, ...] = (
    ReplyStarted("t", "m", "c"),
    ThoughtDelta("First "),
    ThoughtDelta("think."),
    TextDelta("Paris"),
    TextDelta("."),
    Citations((PAGE, UNNAMED, FILE)),
    ReplyEnded(),
)
SOURCES = [
    ("https://example.com/handbook", "Handbook"),
    ("https://example.com/unnamed", "https://example.com/unnamed"),
]

Chunk = Mapping[str, Any]


def streamed() -> list[Chunk]:
    writer = ReplyWriter(ChatChoice(), completion_id="chatcmpl-1", created=1, model="m", include_usage=True)
    frames = b"".join(writer.feed(event) for event in EVENTS).decode().split("\n\n")
    return [json.loads(frame.removeprefix("data: ")) for frame in frames if frame.startswith("data: {")]


def as_open_webui(chunks: Iterable[Chunk]) -> tuple[str, str, list[tuple[str, str]]]:
    thoughts, text, sources = "", "", []
    for chunk in chunks:
        choices = chunk.get("choices", [])
        if not choices:
            continue
        delta = choices[0].get("delta", {})
        for annotation in delta.get("annotations") or []:
            if annotation.get("type") == "url_citation" and "url_citation" in annotation:
                cited = annotation["url_citation"]
                sources.append((cited.get("url", ""), cited.get("title", "")))
        thoughts += delta.get("reasoning_content") or ""
        text += delta.get("content") or ""
    return thoughts, text, sources


def as_lobe_chat(chunks: Iterable[Chunk]) -> tuple[str, str, list[tuple[str, str]]]:
    thoughts, text, sources = "", "", []
    for chunk in chunks:
        if not chunk["choices"]:
            continue
        (choice,) = chunk["choices"]
        delta = choice["delta"]
        if choice["finish_reason"]:
            cited = [each["url_citation"] for each in delta.get("annotations") or []]
            sources += [(each["url"], each["title"]) for each in cited]
        elif isinstance(delta.get("reasoning_content"), str):
            thoughts += delta["reasoning_content"]
        else:
            text += delta.get("content") or ""
    return thoughts, text, sources


def test_open_webui_shows_both() -> None:
    assert as_open_webui(streamed()) == ("First think.", "Paris.", SOURCES)


def test_lobe_chat_shows_both() -> None:
    assert as_lobe_chat(streamed()) == ("First think.", "Paris.", SOURCES)


def test_a_whole_answer_has_the_same_fields() -> None:
    reply: Reply = collect_reply(EVENTS)
    (choice,) = chat_completion(reply, completion_id="c", created=1, model="m")["choices"]  # type: ignore[misc] # A shape of JSON.

    message = choice["message"]  # type: ignore[has-type] # As above.
    assert message["reasoning_content"] == "First think."
    cited = [each["url_citation"] for each in message["annotations"]]
    assert [(each["url"], each["title"]) for each in cited] == SOURCES


def test_documents_without_a_page_are_in_the_extension_alone() -> None:
    *_, last = streamed()

    assert [each.get("document_name") for each in last["dify"]["citations"]] == [
        "Handbook",
        None,
        "secret.pdf",
    ]
