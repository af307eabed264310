"""Replays recorded requests against a simulator, in their order, ids translated on the way.

A recording is one line of JSON: the request, and what a real Dify of that version
answered. Ids are `<id n>`, times 0, consecutive text events are one, long lists are
cut after two items. `<key k>` stands for the key `k` of the simulator's own app.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from opendify.simulator import SimulatorOptions, create_simulator

RECORDINGS = Path(__file__).parent / "recordings"
TEXT_EVENTS = frozenset({"message", "agent_message", "message_file", "text_chunk"})
_ID = re.compile(r"<id \d+>")
_KEY = re.compile(r"<key ([\w-]+)>")
_SECONDS_BETWEEN_REQUESTS = 1.3
_UNKNOWN_ID = "11111111-1111-4111-8111-111111111111"


@dataclass(frozen=True)
class Exchange:
    """One recorded request, the answer recorded with it, and the simulator's."""

    case: str
    recorded: dict[str, Any]
    answer: TestResponse
    events: list[dict[str, Any]] | None
    body: object


class FakeTime:
    """A clock that moves when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def scenario_names() -> list[str]:
    return sorted(str(path.relative_to(RECORDINGS).with_suffix("")) for path in RECORDINGS.glob("*/*.jsonl"))


def read_scenario(name: str) -> list[dict[str, Any]]:
    text = (RECORDINGS / f"{name}.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.split("\n") if line]


@cache
def replay(name: str) -> dict[str, Exchange]:
    """Every exchange of the scenario by its case; one fresh simulator for all of them."""
    time = FakeTime()
    version = name.partition("/")[0]
    options = SimulatorOptions(version=version, token_delay_seconds=0.001)
    client = create_simulator(options, clock=time.clock, sleep=time.sleep).test_client()
    return {exchange.case: exchange for exchange in _replay(client, time, read_scenario(name))}


def _replay(client: FlaskClient, time: FakeTime, lines: list[dict[str, Any]]) -> Iterator[Exchange]:
    ids: dict[str, str] = {}
    for line in lines:
        time.now += _SECONDS_BETWEEN_REQUESTS
        answer = _send(client, line, ids)
        recorded = line["answer"]
        events = _read_stream(answer) if "events" in recorded else None
        body = json.loads(answer.get_data()) if "json" in recorded else None
        _learn(recorded.get("json", recorded.get("events")), events if body is None else body, ids)
        yield Exchange(line["case"], recorded, answer, events, body)


def _send(client: FlaskClient, line: dict[str, Any], ids: dict[str, str]) -> TestResponse:
    request = json.loads(_ID.sub(lambda match: ids.get(match[0], _UNKNOWN_ID), json.dumps(line)))
    headers = {}
    if request["authorization"] is not None:
        headers["Authorization"] = _KEY.sub(r"\1", request["authorization"])
    method, path = request["method"], request["path"]
    if "form" in request:
        fields = [(part["name"], _form_value(part)) for part in request["form"]]
        form = {name: [value for other, value in fields if other == name] for name, _ in fields}
        return client.open(path, method=method, headers=headers, data=form)
    if "raw" in request:
        return client.open(
            path, method=method, headers=headers, data=request["raw"], content_type=request["content_type"]
        )
    return client.open(path, method=method, headers=headers, json=request.get("body"))


def _form_value(part: dict[str, Any]) -> object:
    if "value" in part:
        return part["value"]
    return BytesIO(b"content"), part["filename"] or "", part["type"]


def _read_stream(answer: TestResponse) -> list[dict[str, Any]]:
    return read_events(answer.get_data()) if answer.mimetype == "text/event-stream" else []


def read_events(body: bytes) -> list[dict[str, Any]]:
    """The events of a stream, with consecutive text events taken as one."""
    events: list[dict[str, Any]] = []
    for frame in body.decode().split("\n\n"):
        if not frame:
            continue
        event = {"event": "ping"} if frame == "event: ping" else json.loads(frame.removeprefix("data: "))
        kind = (event["event"], "answer" in event)
        if not events or kind != (events[-1]["event"], "answer" in events[-1]) or kind[0] not in TEXT_EVENTS:
            events.append(event)
    return events


def _learn(recorded: object, actual: object, ids: dict[str, str]) -> None:
    """Pair the ids of two answers that have the same form."""
    if isinstance(recorded, dict) and isinstance(actual, dict):
        for key in recorded.keys() & actual.keys():
            _learn(recorded[key], actual[key], ids)
    elif isinstance(recorded, list) and isinstance(actual, list):
        for left, right in zip(recorded, actual, strict=False):
            _learn(left, right, ids)
    elif isinstance(recorded, str) and isinstance(actual, str) and _ID.fullmatch(recorded):
        ids.setdefault(recorded, actual)
