"""A Dify at the transport seam: no socket, one function a path."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from threading import Lock

import httpx

from tests.fakes.frames import WHOLE, Shape

MP3 = b"\xff\xfb\x90\x00" + bytes(413)
"""One frame of silence."""

Answer = Callable[[httpx.Request], httpx.Response]


def stream(body: bytes | Iterator[bytes] = WHOLE) -> httpx.Response:
    """A run's answer."""
    return httpx.Response(200, headers={"Content-Type": "text/event-stream"}, content=body)


def audio(body: bytes | Iterator[bytes] = MP3, content_type: str = "audio/mpeg") -> httpx.Response:
    """Speech."""
    return httpx.Response(200, headers={"Content-Type": content_type}, content=body)


def refusal(status: int, code: str, message: str = "no", **headers: str) -> httpx.Response:
    """Dify's usual error body."""
    shape = {"code": code, "message": message, "status": status}
    return httpx.Response(status, headers=headers, json=shape)


def always(response: httpx.Response) -> Answer:
    """`response`, as often as it is asked for."""
    content = response.read()
    return lambda _: httpx.Response(response.status_code, headers=response.headers, content=content)


@dataclass
class MockDify:
    """Answers every request by the last part of its path.

    `answers` has the names of `_DEFAULTS`, `run` being the three run endpoints and `other` the rest;
    each may raise httpx's exceptions.
    """

    answers: dict[str, Answer] = field(default_factory=dict)
    requests: list[httpx.Request] = field(default_factory=list)
    _lock: Lock = field(default_factory=Lock)

    def transport(self) -> httpx.BaseTransport:
        return httpx.MockTransport(self._answer)

    def asked(self, name: str) -> list[httpx.Request]:
        """The requests for one name of `answers`, in order."""
        with self._lock:
            return [request for request in self.requests if _name(request) == name]

    def bodies(self, name: str) -> list[Shape]:
        return [json.loads(request.content) for request in self.asked(name)]

    def _answer(self, request: httpx.Request) -> httpx.Response:
        request.read()
        with self._lock:
            self.requests.append(request)
        answer = self.answers.get(_name(request)) or _DEFAULTS[_name(request)]
        return answer(request)


def _name(request: httpx.Request) -> str:
    last = request.url.path.rpartition("/")[2]
    if last in {"chat-messages", "completion-messages", "run"}:
        return "run"
    return last if last in _DEFAULTS else "other"


_DEFAULTS: dict[str, Answer] = {
    "info": lambda _: httpx.Response(200, json={"name": "Mock", "description": "", "mode": "chat"}),
    "parameters": lambda _: httpx.Response(200, json={"user_input_form": []}),
    "upload": lambda _: httpx.Response(201, json={"id": "upload-1"}),
    "stop": lambda _: httpx.Response(200, json={"result": "success"}),
    "run": lambda _: stream(),
    "audio-to-text": lambda _: httpx.Response(200, json={"text": "Guten Morgen"}),
    "text-to-audio": lambda _: audio(),
    "other": lambda _: httpx.Response(200, json={"result": "success"}),
}
