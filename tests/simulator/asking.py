"""Asks a simulator as a client would, without any real second passing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from opendify.simulator import DEMO_APPS, SimulatorOptions, create_simulator

_PATHS = {"completion": "/v1/completion-messages", "workflow": "/v1/workflows/run"}
_SECONDS_BETWEEN_TURNS = 1.3

Event = dict[str, Any]


class Asker:
    """One simulator with its own time, and one user who asks it."""

    def __init__(self, version: str = "1.12.1", *, user: str = "ann", **options: Any) -> None:
        self.now = 1_800_000_000.0
        self.user = user
        settings = SimulatorOptions(version=version, **({"token_delay_seconds": 0.0} | options))
        self.app = create_simulator(settings, clock=lambda: self.now, sleep=self.sleep)
        self.client: FlaskClient = self.app.test_client()

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def post(self, key: str, path: str, body: dict[str, Any]) -> TestResponse:
        return self.client.post(path, json={"user": self.user} | body, headers=bearer(key))

    def get(self, key: str, path: str, **query: str) -> TestResponse:
        return self.client.get(path, query_string={"user": self.user} | query, headers=bearer(key))

    def run(self, key: str, query: str, *, streaming: bool = True, **fields: Any) -> TestResponse:
        """Ask `query`, as an input where the app's mode takes it so."""
        self.now += _SECONDS_BETWEEN_TURNS
        mode = DEMO_APPS[key].mode
        body: dict[str, Any] = {"inputs": {}, "response_mode": "streaming" if streaming else "blocking"}
        if mode in _PATHS:
            body["inputs"] = {"query": query}
        else:
            body["query"] = query
        return self.post(key, _PATHS.get(mode, "/v1/chat-messages"), body | fields)

    def stream(self, key: str, query: str, **fields: Any) -> list[Event]:
        return read_frames(self.run(key, query, **fields).get_data())

    def ask(self, key: str, query: str, **fields: Any) -> Event:
        """The body of a blocking answer."""
        body: Event = self.run(key, query, streaming=False, **fields).get_json()
        return body

    def counts(self) -> Event:
        counts: Event = self.client.get("/_simulator/counts").get_json()
        return counts


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def read_frames(body: bytes) -> list[Event]:
    """The events of a stream; pings are `{"event": "ping"}`."""
    return [read_frame(frame) for frame in body.split(b"\n\n") if frame]


def read_frame(frame: bytes) -> Event:
    if frame.strip() == b"event: ping":
        return {"event": "ping"}
    event: Event = json.loads(frame.strip().removeprefix(b"data: "))
    return event


def frames_of(answer: TestResponse) -> Iterator[Event]:
    """The events as they are made; the run stands still in between."""
    return (read_frame(frame) for frame in answer.iter_encoded())


def names(events: list[Event]) -> list[str]:
    """The events' names, text events in a row taken as one."""
    found: list[str] = []
    for event in events:
        name = event["event"]
        if not found or found[-1] != name or name not in {"message", "agent_message", "text_chunk"}:
            found.append(name)
    return found


def text_of(events: list[Event]) -> str:
    parts = [event.get("answer") for event in events if event["event"] in {"message", "agent_message"}]
    parts += [event["data"]["text"] for event in events if event["event"] == "text_chunk"]
    return "".join(part for part in parts if part)
