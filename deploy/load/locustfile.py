"""People who chat with a running instance, most of them streaming: a load test for Locust.

    uv sync --group load
    OPENDIFY_API_KEY=sk-… .venv/bin/locust --locustfile deploy/load/locustfile.py --host http://127.0.0.1:5000

`OPENDIFY_MODEL` is the model that is asked, by default the first of the list; every answer is a run at Dify,
and costs what it costs there. An answer that is not whole is a failure, whatever its status.
"""

import json
import os
import time
from collections.abc import Iterable

from locust import HttpUser, between, task

_PATH = "/v1/chat/completions"
_QUESTIONS = ("Hello", "Tell me more", "What follows from that?", "In one sentence, please")


class Person(HttpUser):
    """Asks, reads, thinks for a while, asks on; after four questions it begins a new chat."""

    wait_time = between(1, 5)

    def on_start(self) -> None:
        """Know the key and the model."""
        key = os.environ.get("OPENDIFY_API_KEY", "none")
        self.client.headers["Authorization"] = f"Bearer {key}"
        self.model = os.environ.get("OPENDIFY_MODEL") or self._first_model()
        self.messages: list[dict[str, str]] = []

    @task(3)
    def chat_streamed(self) -> None:
        """Ask, and read the answer as it comes."""
        started = time.monotonic()
        with self.client.post(
            _PATH, json=self._ask(stream=True), stream=True, catch_response=True, name="streamed: head"
        ) as response:
            if response.status_code != 200:
                response.failure(f"status {response.status_code}")
                self.messages = []
                return
            text = self._read(response.iter_lines(), started)
            self._keep(text)

    @task(1)
    def chat_whole(self) -> None:
        """Ask, and take the answer when it is whole."""
        with self.client.post(
            _PATH, json=self._ask(stream=False), catch_response=True, name="whole"
        ) as response:
            if response.status_code != 200:
                response.failure(f"status {response.status_code}")
                self.messages = []
                return
            self._keep(response.json()["choices"][0]["message"]["content"])

    def _first_model(self) -> str:
        models = self.client.get("/v1/models").json()["data"]
        return str(models[0]["id"]) if models else "none"

    def _ask(self, *, stream: bool) -> dict[str, object]:
        if len(self.messages) >= 2 * len(_QUESTIONS):
            self.messages = []
        self.messages.append({"role": "user", "content": _QUESTIONS[len(self.messages) // 2]})
        return {"model": self.model, "messages": self.messages, "stream": stream}

    def _keep(self, text: str | None) -> None:
        """What was answered belongs to the chat; a chat whose answer broke off is given up."""
        if text is None:
            self.messages = []
        else:
            self.messages.append({"role": "assistant", "content": text})

    def _read(self, lines: Iterable[bytes], started: float) -> str | None:
        """The whole text of a stream, or nothing where it broke off; both moments are told to Locust."""
        pieces: list[str] = []
        for line in lines:
            if line == b"data: [DONE]":
                self._note("streamed: last piece", started)
                return "".join(pieces)
            if not line.startswith(b"data: "):
                continue
            if piece := _text_of(json.loads(line.removeprefix(b"data: "))):
                if not pieces:
                    self._note("streamed: first piece", started)
                pieces.append(piece)
        self._note("streamed: last piece", started, ConnectionError("the stream ended without [DONE]"))
        return None

    def _note(self, name: str, started: float, exception: Exception | None = None) -> None:
        self.environment.events.request.fire(
            request_type="POST",
            name=name,
            response_time=1e3 * (time.monotonic() - started),
            response_length=0,
            exception=exception,
            context={},
        )


def _text_of(chunk: dict[str, list[dict[str, dict[str, str | None]]]]) -> str:
    """The text that a chunk adds; nothing of an error frame, which no `[DONE]` follows."""
    choices = chunk.get("choices") or [{"delta": {}}]
    return choices[0]["delta"].get("content") or ""
