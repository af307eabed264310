"""`/responses`: whole, streamed, kept, and gone on from."""

import json
from typing import Final

import httpx

from tests.conformance.event_stream import read_event_stream
from tests.conformance.judge import INVALID_REQUEST_CODES, Judge, Shape

_SCHEMAS: Final = {
    "error": "ResponseErrorEvent",
    "response.created": "ResponseCreatedEvent",
    "response.in_progress": "ResponseInProgressEvent",
    "response.completed": "ResponseCompletedEvent",
    "response.incomplete": "ResponseIncompleteEvent",
    "response.failed": "ResponseFailedEvent",
    "response.output_item.added": "ResponseOutputItemAddedEvent",
    "response.output_item.done": "ResponseOutputItemDoneEvent",
    "response.content_part.added": "ResponseContentPartAddedEvent",
    "response.content_part.done": "ResponseContentPartDoneEvent",
    "response.output_text.delta": "ResponseTextDeltaEvent",
    "response.output_text.done": "ResponseTextDoneEvent",
    "response.output_text.annotation.added": "ResponseOutputTextAnnotationAddedEvent",
    "response.reasoning_summary_part.added": "ResponseReasoningSummaryPartAddedEvent",
    "response.reasoning_summary_part.done": "ResponseReasoningSummaryPartDoneEvent",
    "response.reasoning_summary_text.delta": "ResponseReasoningSummaryTextDeltaEvent",
    "response.reasoning_summary_text.done": "ResponseReasoningSummaryTextDoneEvent",
}
_LIFE_OF_AN_ANSWER: Final = (
    "output_item.added",
    "content_part.added",
    "output_text.delta",
    "output_text.done",
    "content_part.done",
    "output_item.done",
)
_NOBODY: Final = "resp_000000000000000000000000"


def check_responses(judge: Judge) -> None:
    """A response in both forms, its life in the store, and what cannot be served."""
    whole = judge.read_json("responses", _create(judge))
    if whole is not None:
        judge.check_schema("responses", "Response", whole)
        judge.check("responses: completed", whole.get("status") == "completed", whole)
        judge.check("responses: there is text", text_of(whole).strip(), whole)
        _check_kept(judge, whole)
    _check_stream(judge)
    _check_refusals(judge)


def text_of(response: Shape) -> str:
    """What SDKs call `output_text`."""
    parts = [part for item in response.get("output", []) for part in item.get("content", [])]
    return "".join(part["text"] for part in parts if part.get("type") == "output_text")


def _create(judge: Judge, **parameters: object) -> httpx.Response:
    plain = {"model": judge.target.model, "input": judge.target.prompt, "user": judge.target.user}
    return judge.ask("POST", "/responses", body={**plain, **parameters})


def _check_stream(judge: Judge) -> None:
    response = _create(judge, stream=True)
    content_type = response.headers.get("content-type", "")
    if not judge.check("responses stream", content_type.startswith("text/event-stream"), response.text):
        return
    stream = read_event_stream(response.content)
    judge.check("responses stream: framing", not stream.faults, "; ".join(stream.faults))
    events = [json.loads(event.data) for event in stream.events]
    for event in events:
        kind = event.get("type")
        known = judge.check(f"responses stream: {kind} is OpenAI's", kind in _SCHEMAS, event)
        if known:
            judge.check_schema("responses stream", _SCHEMAS[kind], event)
    numbers = [event.get("sequence_number") for event in events]
    judge.check("responses stream: numbered from 0", numbers == list(range(len(events))), numbers)
    kinds = [event.get("type") for event in events]
    ends = (kinds[:1], kinds[-1:]) == (["response.created"], ["response.completed"])
    judge.check("responses stream: begins created, ends completed", ends, kinds)
    _check_answer(judge, events)


def _check_answer(judge: Judge, events: list[Shape]) -> None:
    message = next(item for item in events[-1]["response"]["output"] if item["type"] == "message")
    told = [
        event for event in events if message["id"] in (event.get("item_id"), event.get("item", {}).get("id"))
    ]
    kinds = [event["type"].removeprefix("response.") for event in told]
    order = list(dict.fromkeys(kind for kind in kinds if not kind.endswith("annotation.added")))
    judge.check("responses stream: the life of an answer", tuple(order) == _LIFE_OF_AN_ANSWER, kinds)
    deltas = "".join(event["delta"] for event in told if event["type"] == "response.output_text.delta")
    judge.check("responses stream: the deltas are the text", deltas == text_of({"output": [message]}), deltas)


def _check_kept(judge: Judge, whole: Shape) -> None:
    path = f"/responses/{whole.get('id')}"
    kept = judge.read_json("a kept response", judge.ask("GET", path))
    judge.check("a kept response is the one that was answered", kept == whole, kept)
    items = judge.read_json("its input", judge.ask("GET", f"{path}/input_items"))
    judge.check_schema("its input", "ResponseItemList", items)
    followed = judge.read_json("a second turn", _create(judge, previous_response_id=whole.get("id")))
    judge.check_schema("a second turn", "Response", followed)
    judge.check_error("cancelling it", judge.ask("POST", f"{path}/cancel"), [400])
    deleted = judge.read_json("deleting it", judge.ask("DELETE", path))
    judge.check("deleting it: what it says", deleted and deleted.get("deleted") is True, deleted)
    judge.check_error("a deleted response", judge.ask("GET", path), [404])


def _check_refusals(judge: Judge) -> None:
    judge.check_error("an unknown response", judge.ask("GET", f"/responses/{_NOBODY}"), [404])
    wrong: dict[str, object] = {
        "input": {},
        "model": 7,
        "stream": "yes",
        "background": True,
        "tool_choice": "required",
        "previous_response_id": 7,
    }
    for name, value in wrong.items():
        answer = _create(judge, **{name: value})
        judge.check_error(f"responses with a wrong {name}", answer, [400], INVALID_REQUEST_CODES, name)
    unknown = _create(judge, previous_response_id=_NOBODY)
    codes = ["previous_response_not_found"]
    judge.check_error("an unknown previous response", unknown, [400], codes, "previous_response_id")
    unstored = judge.read_json("responses without store", _create(judge, store=False)) or {}
    judge.check_error("what was not stored", judge.ask("GET", f"/responses/{unstored.get('id')}"), [404])
