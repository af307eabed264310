"""`/chat/completions`, streamed."""

import json

import httpx

from tests.conformance.check_chat import check_usage
from tests.conformance.event_stream import Event, read_event_stream
from tests.conformance.judge import Judge, Shape, shown


def check_stream(judge: Judge) -> None:
    """A stream without and with usage."""
    _check_chunks(judge, "stream", judge.chat(stream=True), include_usage=False)
    options = {"include_usage": True, "include_obfuscation": False}
    with_usage = judge.chat(stream=True, stream_options=options)
    _check_chunks(judge, "stream with usage", with_usage, include_usage=True)


def read_frames(judge: Judge, title: str, response: httpx.Response) -> list[Shape]:
    """The JSON of each event before `[DONE]`, after the framing was checked; none if it is no stream."""
    if not judge.check(f"{title}: status 200", response.status_code == 200, response.text):
        return []
    content_type = str(response.headers.get("content-type"))
    judge.check(f"{title}: Content-Type", content_type.startswith("text/event-stream"), content_type)
    packed = {"content-encoding", "content-length"} & response.headers.keys()
    judge.check(f"{title}: not compressed, and no Content-Length", not packed, shown(sorted(packed)), "WARN")
    try:
        stream = read_event_stream(response.content)
    except UnicodeDecodeError as error:
        judge.check(f"{title}: UTF-8", False, error)
        return []
    judge.check(f"{title}: framing", not stream.faults, "; ".join(stream.faults))
    strange = [event.fields for event in stream.events if event.fields != ("data",)]
    judge.check(f"{title}: each event is one `data` line", not strange, strange)
    ends = [number for number, event in enumerate(stream.events, 1) if event.data == "[DONE]"]
    judge.check(f"{title}: one [DONE], at the end", ends == [len(stream.events)], ends)
    return _decode(judge, title, [event for event in stream.events if event.data != "[DONE]"])


def _decode(judge: Judge, title: str, events: list[Event]) -> list[Shape]:
    frames: list[Shape] = []
    broken = []
    for event in events:
        try:
            frame = json.loads(event.data)
        except ValueError:
            frame = None
        frames.append(frame) if isinstance(frame, dict) else broken.append(event.data)
    judge.check(f"{title}: every event is a JSON object", not broken, broken[:2])
    judge.check(f"{title}: has events", frames)
    return frames


def _check_chunks(judge: Judge, title: str, response: httpx.Response, *, include_usage: bool) -> None:
    chunks = read_frames(judge, title, response)
    if not chunks:
        return
    judge.check(f"{title}: no error frame", not any("error" in chunk for chunk in chunks), chunks[-1])
    for chunk in chunks:
        judge.check_schema(title, "CreateChatCompletionStreamResponse", chunk)
    for key in ("id", "created", "model", "object"):
        values = {json.dumps(chunk.get(key)) for chunk in chunks}
        judge.check(f"{title}: the same {key} in every chunk", len(values) == 1, shown(sorted(values)))
    judge.check(
        f"{title}: `choices` is always a list", all(isinstance(c.get("choices"), list) for c in chunks)
    )
    _check_choices(judge, title, chunks)
    _check_usage(judge, title, chunks, include_usage=include_usage)


def _check_choices(judge: Judge, title: str, chunks: list[Shape]) -> None:
    choices = [choice for chunk in chunks for choice in chunk.get("choices") or []]
    deltas = [choice.get("delta") or {} for choice in choices]
    judge.check(
        f"{title}: the first delta has the role",
        deltas[:1] and deltas[0].get("role") == "assistant",
        deltas[:1],
    )
    empty_roles = [delta for delta in deltas if not delta.get("role", "assistant")]
    judge.check(f"{title}: no null or empty role", not empty_roles, empty_roles[:1])
    reasons = [choice.get("finish_reason") for choice in choices]
    judge.check(f"{title}: one finish_reason", len([r for r in reasons if r is not None]) == 1, reasons)
    judge.check(f"{title}: no choice after the finish chunk", reasons[-1:] != [None], choices[-1:])
    pieces = [delta["content"] for delta in deltas if delta.get("content")]
    judge.check(f"{title}: text arrived", "".join(pieces).strip(), pieces)
    judge.check(f"{title}: in more than one piece", len(pieces) > 1, pieces, "WARN")


def _check_usage(judge: Judge, title: str, chunks: list[Shape], *, include_usage: bool) -> None:
    *before, last = chunks
    if not include_usage:
        plain = all(chunk.get("choices") and not chunk.get("usage") for chunk in chunks)
        judge.check(f"{title}: no usage and no empty choices unless asked for", plain, last, "WARN")
        return
    judge.check(f"{title}: the last chunk has usage and no choices", last.get("choices") == [], last)
    check_usage(judge, title, last.get("usage"))
    nulls = all("usage" in chunk and chunk["usage"] is None for chunk in before)
    judge.check(f"{title}: all other chunks carry `usage: null`", nulls, before[:1], "WARN")
