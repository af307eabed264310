"""Clients as people use them, and what the model behind Dify was really told."""

import json
import re
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import httpx
import pytest

from opendify.simulator import DEMO_MODELS

Message = tuple[str, str]
"""Role and text."""

_BEFORE_BLOCK, _AFTER_BLOCK = "User: <conversation_so_far>\n", "\n</conversation_so_far>\n\n"
_SPEAKER = re.compile(r"(?:\A|\n\n)(User|Assistant): ")
# Each request comes over a connection of its own, so that any worker may get it.
_HTTP = httpx.Client(limits=httpx.Limits(max_keepalive_connections=0), timeout=30)


def user(text: str) -> Message:
    return ("user", text)


def assistant(text: str) -> Message:
    return ("assistant", text)


@dataclass(frozen=True)
class Answer:
    """What a client got. `finished` is whether it may take the answer for whole."""

    status: int
    text: str
    finished: bool
    headers: httpx.Headers

    @property
    def conversation_id(self) -> str:
        """Dify's, as the response's header tells it."""
        return str(self.headers.get("X-Dify-Conversation-Id", ""))

    @property
    def told(self) -> list[Message]:
        """What the model was told, word for word; the question must hold the word MEMORY."""
        return [(role, text) for role, text in json.loads(self.text) if role != "system"]

    @property
    def memory(self) -> list[Message]:
        """What the model was told, replayed turns as if they had been spoken."""
        return [message for told in self.told for message in unfold(told)]


def unfold(message: Message) -> Iterator[Message]:
    """A message that holds a replay, as the messages that it stands for; replays may hold others."""
    role, text = message
    if role != "user" or _AFTER_BLOCK not in text:
        yield message
        return
    spoken = f"User: {text}".replace(_BEFORE_BLOCK, "").replace(_AFTER_BLOCK, "\n\nUser: ")
    _, *parts = _SPEAKER.split(spoken)
    yield from zip(map(str.lower, parts[::2]), parts[1::2], strict=True)


@dataclass(frozen=True)
class Chatter:
    """One client of one key; each asks as its fields say. `headers` are sent with all requests."""

    origin: str
    key: str = field(default_factory=lambda: f"sk-{secrets.token_hex(8)}")
    model: str = "demo-chat"
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Mapping[str, object] = field(default_factory=dict)
    streamed: bool = True

    def leave(self, *messages: Message, after_seconds: float) -> None:
        """Ask what is not answered so soon, and go away."""
        with pytest.raises(httpx.ReadTimeout):
            _HTTP.post(self._url, json=self._body(messages), headers=self._headers, timeout=after_seconds)

    def ask(self, *messages: Message) -> Answer:
        """Ask, and read the answer to its end."""
        if self.streamed:
            with self.asking(*messages) as answering:
                return answering.rest()
        response = _HTTP.post(self._url, json=self._body(messages), headers=self._headers)
        return _read_whole(response)

    @contextmanager
    def asking(self, *messages: Message) -> Iterator["Answering"]:
        """A stream that begins; leaving the block leaves the stream."""
        body = self._body(messages)
        with _HTTP.stream("POST", self._url, json=body, headers=self._headers) as response:
            yield Answering(response)

    @property
    def _url(self) -> str:
        return f"{self.origin}/v1/chat/completions"

    @property
    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}", **self.headers}

    def _body(self, messages: Sequence[Message]) -> dict[str, object]:
        shown = [{"role": role, "content": text} for role, text in messages]
        return {"model": self.model, "messages": shown, "stream": self.streamed, **self.body}


class Answering:
    """An answer as it comes."""

    def __init__(self, response: httpx.Response) -> None:
        self._response = response
        self._lines = response.iter_lines()
        self._text = ""

    def next_piece(self) -> str:
        """The next text; empty where the answer ended or broke off before it."""
        for line in self._lines:
            piece = _read_piece(line)
            if piece is None:
                return ""
            if piece:
                self._text += piece
                return piece
        return ""

    def rest(self) -> Answer:
        """All of it, what was read before too."""
        finished = False
        # A server that dies breaks off; that is an answer that was not finished.
        with suppress(httpx.TransportError):
            for line in self._lines:
                finished = finished or line == "data: [DONE]"
                self._text += _read_piece(line) or ""
        return Answer(self._response.status_code, self._text, finished, self._response.headers)


def _read_piece(line: str) -> str | None:
    """A line's text; None where it says that no more comes."""
    if not line.startswith("data: {"):
        return None if line == "data: [DONE]" else ""
    chunk = json.loads(line.removeprefix("data: "))
    if "choices" not in chunk:
        return None
    return "".join(choice["delta"].get("content") or "" for choice in chunk["choices"])


def _read_whole(response: httpx.Response) -> Answer:
    text = ""
    if response.is_success:
        text = response.json()["choices"][0]["message"]["content"] or ""
    return Answer(response.status_code, text, response.is_success, response.headers)


@dataclass(frozen=True)
class Run:
    """A run as Dify was asked for it; `conversation_id` is empty where it was to begin one."""

    user: str
    conversation_id: str
    query: str
    app_key: str


class SimulatedDify:
    """The simulated Dify, asked behind the proxy's back."""

    def __init__(self, origin: str) -> None:
        self.origin = origin

    def runs(self, text: str) -> list[Run]:
        """The runs whose query holds `text`, oldest first."""
        requests = _HTTP.get(f"{self.origin}/_simulator/requests").json()["requests"]
        runs = [
            Run(
                request["body"]["user"],
                request["body"].get("conversation_id") or "",
                request["body"]["query"],
                request["app_key"],
            )
            for request in requests
        ]
        return [run for run in runs if text in run.query]

    def forget(
        self, conversation_id: str, app_key: str = DEMO_MODELS["demo-chat"], user: str = "operator"
    ) -> None:
        """Delete a conversation; before 1.3.1 only its `user` may."""
        url = f"{self.origin}/v1/conversations/{conversation_id}"
        headers = {"Authorization": f"Bearer {app_key}"}
        assert _HTTP.request("DELETE", url, json={"user": user}, headers=headers).is_success

    def read(self, conversation_id: str, user: str, app_key: str) -> list[Message] | None:
        """What a conversation holds, questions without answers too; None where it is gone."""
        query = {"conversation_id": conversation_id, "user": user, "limit": "100"}
        headers = {"Authorization": f"Bearer {app_key}"}
        response = _HTTP.get(f"{self.origin}/v1/messages", params=query, headers=headers)
        if response.status_code == 404:
            return None
        rows = response.json()["data"]
        return [said for row in rows for said in (("user", row["query"]), ("assistant", row["answer"]))]
