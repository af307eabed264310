"""What Dify sent, through the real app over real sockets: `tests/transcripts/README.md` tells the form."""

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from opendify.app import create_app
from opendify.wire.sse import SSEDecoder
from tests.fakes.scripted_dify import ScriptedDify, scripted_dify
from tests.fakes.served_app import served
from tests.fakes.settings import make_settings

FOLDER = Path(__file__).parent / "transcripts"
Shape = dict[str, Any]  # JSON as it comes; the test's whole job is to look into it.

MODES = ("chat", "agent-chat", "agent", "advanced-chat", "completion", "workflow")
FRONTS = ("/v1/chat/completions", "/v1/completions", "/v1/responses")
PROMPTS: dict[str, Shape] = {
    "/v1/chat/completions": {"messages": [{"role": "user", "content": "Hi"}]},
    "/v1/completions": {"prompt": "Hi"},
    "/v1/responses": {"input": "Hi", "store": False},
}
CASES = sorted(path for path in FOLDER.rglob("*") if path.suffix in {".sse", ".body"})
BYTE_BY_BYTE = [path for path in CASES if path.stat().st_size < 2_500]


@dataclass(frozen=True)
class Case:
    """One transcript and its expectation."""

    body: bytes
    facts: Shape

    @staticmethod
    def load(path: Path) -> "Case":
        return Case(path.read_bytes(), json.loads(path.with_suffix(".json").read_text()))

    def expectation(self, *, collected: bool) -> Shape:
        """What the client must see; a moderated answer differs for one that does not stream."""
        other: Shape | None = self.facts.get("expect_collected") if collected else None
        expected: Shape = self.facts["expect"]
        return other or expected


@dataclass
class Seen:
    """What a client saw."""

    status: int
    content: str = ""
    reasoning: str = ""
    finish_reasons: list[str] = field(default_factory=list)
    usage: Shape | None = None
    annotations: list[Shape] = field(default_factory=list)
    extension: Shape = field(default_factory=dict)
    error: Shape | None = None
    done: bool = False


@dataclass(frozen=True)
class Stand:
    """The app between a scripted Dify and a client."""

    dify: ScriptedDify
    client: httpx.Client

    def play(self, case: Case, pieces: list[bytes], front: str, *, stream: bool) -> Seen:
        script = self.dify.script
        script.pieces = pieces
        script.status = case.facts["status"]
        script.content_type = case.facts["content_type"]
        script.ends_cleanly = case.facts["ends"] == "clean"
        body = {"model": case.facts["mode"], "stream": stream, **PROMPTS[front]}
        if stream:
            body["stream_options"] = {"include_usage": True}
        response = self.client.post(front, json=body)
        return _read_stream(response) if stream else _read_whole(response)


@pytest.fixture(scope="module")
def stand() -> Iterator[Stand]:
    with scripted_dify() as dify:
        models = {mode: {"api_key": f"app-{mode}", "mode": mode, "query_input": "query"} for mode in MODES}
        # Some transcripts are failures of Dify, and all of them are played.
        settings = make_settings(models, DIFY_API_BASE=dify.base_url, DIFY_CIRCUIT_FAILURES="0")
        with served(create_app(settings)) as url, httpx.Client(base_url=url, timeout=30) as client:
            yield Stand(dify, client)


def _name(path: Path) -> str:
    return str(path.relative_to(FOLDER).with_suffix(""))


def _cut(body: bytes, seed: str) -> list[bytes]:
    places = random.Random(seed)
    cuts = sorted(places.randrange(len(body) + 1) for _ in range(places.randint(1, 12)))
    return [body[start:end] for start, end in zip([0, *cuts], [*cuts, len(body)], strict=True)]


@pytest.mark.parametrize("front", FRONTS)
@pytest.mark.parametrize("path", CASES, ids=_name)
def test_a_transcript_gives_what_the_rules_say(stand: Stand, path: Path, front: str) -> None:
    case = Case.load(path)

    whole = [case.body]
    _check(stand.play(case, whole, front, stream=True), case.expectation(collected=False), front)
    _check(stand.play(case, whole, front, stream=False), case.expectation(collected=True), front)


@pytest.mark.parametrize("path", CASES, ids=_name)
def test_a_transcript_cut_anywhere_gives_the_same(stand: Stand, path: Path) -> None:
    case = Case.load(path)

    for seed in range(2):
        pieces = _cut(case.body, f"{seed} {_name(path)}")
        seen = stand.play(case, pieces, FRONTS[0], stream=True)
        _check(seen, case.expectation(collected=False), FRONTS[0])
    seen = stand.play(case, pieces, FRONTS[0], stream=False)
    _check(seen, case.expectation(collected=True), FRONTS[0])


@pytest.mark.parametrize("path", BYTE_BY_BYTE, ids=_name)
def test_a_transcript_that_comes_byte_by_byte_gives_the_same(stand: Stand, path: Path) -> None:
    case = Case.load(path)

    pieces = [case.body[n : n + 1] for n in range(len(case.body))]
    seen = stand.play(case, pieces, FRONTS[0], stream=True)

    _check(seen, case.expectation(collected=False), FRONTS[0])


def _read_stream(response: httpx.Response) -> Seen:
    if response.status_code != 200:
        return _read_whole(response)
    assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
    payloads = SSEDecoder().feed(response.content)
    if response.content.startswith(b"event: response.created\n"):
        return _read_events([json.loads(payload) for payload in payloads])
    seen = Seen(200)
    if payloads[-1] == b"[DONE]":
        seen.done = True
        payloads.pop()
    for payload in payloads:
        assert not seen.error, "nothing follows an error"
        _add_chunk(seen, json.loads(payload))
    return seen


def _add_chunk(seen: Seen, chunk: Shape) -> None:
    if "error" in chunk:
        assert "choices" not in chunk
        seen.error = chunk["error"]
        return
    seen.usage = chunk["usage"] or seen.usage
    seen.extension.update(chunk.get("dify", {}))
    for choice in chunk["choices"]:
        delta = choice.get("delta", {"content": choice.get("text")})
        seen.content += delta.get("content") or ""
        seen.reasoning += delta.get("reasoning_content") or ""
        seen.annotations += delta.get("annotations", [])
        if choice["finish_reason"]:
            seen.finish_reasons.append(choice["finish_reason"])


def _read_whole(response: httpx.Response) -> Seen:
    body = response.json()
    if response.status_code != 200:
        return Seen(response.status_code, error=body["error"])
    if body.get("object") == "response":
        return _read_response(body)
    choice = body["choices"][0]
    message = choice.get("message", {"content": choice.get("text")})
    return Seen(
        200,
        content=message["content"],
        reasoning=message.get("reasoning_content") or "",
        annotations=message.get("annotations", []),
        finish_reasons=[choice["finish_reason"]],
        usage=body.get("usage"),
        extension=body["dify"],
        done=True,
    )


def _read_events(events: list[Shape]) -> Seen:
    """The deltas of a response, put together, which must be what its last event says."""
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert [event["type"] for event in events[:2]] == ["response.created", "response.in_progress"]
    told = {kind: "".join(_deltas(events, kind)) for kind in ("output_text", "reasoning_summary_text")}
    last = events[-1]
    if last["type"] == "response.failed":
        assert (last["response"]["status"], events[-2]["type"]) == ("failed", "error")
        return Seen(200, content=told["output_text"], error={**events[-2], "type": None})
    assert last["type"] == f"response.{last['response']['status']}"
    done = [event["item"] for event in events if event["type"] == "response.output_item.done"]
    assert sorted(map(str, done)) == sorted(map(str, last["response"]["output"]))
    seen = _read_response(last["response"])
    assert (seen.content, seen.reasoning) == (told["output_text"], told["reasoning_summary_text"])
    return seen


def _deltas(events: list[Shape], kind: str) -> Iterator[str]:
    return (event["delta"] for event in events if event["type"] == f"response.{kind}.delta")


def _read_response(response: Shape) -> Seen:
    message = next(item for item in response["output"] if item["type"] == "message")
    thoughts = [part["text"] for item in response["output"] for part in item.get("summary", [])]
    (part,) = message["content"]
    usage = response.get("usage")
    return Seen(
        200,
        content=part["text"],
        reasoning="".join(thoughts),
        annotations=[_nested(annotation) for annotation in part["annotations"]],
        finish_reasons=["stop" if response["status"] == "completed" else "content_filter"],
        usage=usage
        and {
            "prompt_tokens": usage["input_tokens"],
            "completion_tokens": usage["output_tokens"],
            "total_tokens": usage["total_tokens"],
        },
        extension=response["dify"],
        done=True,
    )


def _nested(annotation: Shape) -> Shape:
    """As in chats."""
    facts = {name: value for name, value in annotation.items() if name != "type"}
    return {"type": annotation["type"], annotation["type"]: facts}


def _check(seen: Seen, expected: Shape, front: str) -> None:
    if expected["error"]:
        _check_error(seen, expected)
        return
    assert seen.error is None
    assert seen.done
    assert seen.content == expected["content"]
    if front != "/v1/completions":
        assert seen.reasoning == (expected["reasoning"] or "")
        assert seen.annotations == expected.get("annotations", [])
    assert seen.finish_reasons == [expected["finish_reason"]]
    assert seen.usage == expected["usage"]
    assert [_line(step) for step in seen.extension.get("steps", [])] == expected.get("steps", [])
    assert seen.extension.get("citations", []) == expected.get("citations", [])
    for name in ("conversation_id", "message_id", "task_id"):
        assert seen.extension.get(name) == expected[name]


def _line(step: Shape) -> str:
    return f"{step['name']} ({step['type']}): {step['status']}"


def _check_error(seen: Seen, expected: Shape) -> None:
    error = expected["error"]
    assert seen.error
    assert not seen.done, "only a whole answer ends as one"
    assert not seen.finish_reasons
    assert seen.status in {error["status"], 200}
    if seen.status == 200:
        assert seen.content == (expected["content"] or "")
    assert (seen.error["type"] or error["type"], seen.error["code"]) == (error["type"], error["code"])
    assert seen.error["param"] == error.get("param")
    assert error["message_contains"] in seen.error["message"]
