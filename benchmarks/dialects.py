"""The two languages that targets speak: OpenAI's, and Dify's own where nothing translates."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, TypeVar

import msgspec

from benchmarks.directive import Directive

MODEL = "bench"
API_KEY = "sk-bench"
APP_KEY = "app-bench"

_ShapeT = TypeVar("_ShapeT")
_SENTENCE = "The quick brown fox jumps over the lazy dog. "


class WrongAnswer(Exception):
    """An answer that no client should get."""


class Door(msgspec.Struct, frozen=True, kw_only=True):
    """Where to ask, on the loopback interface, and as whom.

    Args:
        copies: How often each text stands in an answer: some targets pass Dify's events on beside
            the chunks that they make of them.
    """

    port: int
    path: str
    key: str
    model: str
    dialect: str
    copies: int = 1


@dataclass(frozen=True, slots=True)
class Dialect:
    """How to ask, and how to read the text of a whole answer or of a stream's body.

    Both readers raise `WrongAnswer`.
    """

    path: str
    key: str
    build_body: Callable[[str, str, bool], Mapping[str, object]]
    read_whole: Callable[[bytes], str]
    read_stream: Callable[[bytes], str]

    def build_content(
        self, directive: Directive, *, whole: bool, model: str = MODEL, prompt_bytes: int = 0
    ) -> bytes:
        """A request's body; the directive follows `prompt_bytes` of ordinary text."""
        prompt = (_SENTENCE * (prompt_bytes // len(_SENTENCE) + 1))[:prompt_bytes]
        return json.dumps(self.build_body(model, f"{prompt}{directive}", whole)).encode()


# What OpenAI's Python SDK says of itself; the count of its tries asks for care with each of them.
_OF_THE_SDK: Final = (
    "Accept-Encoding: gzip, deflate\r\nConnection: keep-alive\r\nUser-Agent: OpenAI/Python 3.54.0\r\n"
    "X-Stainless-Lang: python\r\nX-Stainless-Package-Version: 3.54.0\r\nX-Stainless-OS: Linux\r\n"
    "X-Stainless-Arch: x64\r\nX-Stainless-Runtime: CPython\r\nX-Stainless-Runtime-Version: 3.11.7\r\n"
    "X-Stainless-Async: false\r\nX-Stainless-Retry-Count: 0\r\nX-Stainless-Read-Timeout: 600\r\n"
)


def build_request(
    door: Door, directive: Directive, *, whole: bool, prompt_bytes: int = 0, by_sdk: bool = False
) -> bytes:
    """A request's bytes; `by_sdk` adds the headers that OpenAI's SDK sends."""
    content = DIALECTS[door.dialect].build_content(
        directive, whole=whole, model=door.model, prompt_bytes=prompt_bytes
    )
    head = (
        f"POST {door.path} HTTP/1.1\r\nHost: 127.0.0.1:{door.port}\r\nAuthorization: Bearer {door.key}\r\n"
        f"Content-Type: application/json\r\nAccept: */*\r\n{_OF_THE_SDK if by_sdk else ''}"
        f"Content-Length: {len(content)}\r\n\r\n"
    )
    return head.encode() + content


class _Delta(msgspec.Struct):
    content: str | None = None


class _ChunkChoice(msgspec.Struct):
    delta: _Delta
    finish_reason: str | None = None


class _Chunk(msgspec.Struct):
    choices: list[_ChunkChoice]


class _Message(msgspec.Struct):
    content: str


class _Choice(msgspec.Struct):
    message: _Message
    finish_reason: str


class _Completion(msgspec.Struct):
    choices: list[_Choice]


class _Event(msgspec.Struct):
    event: str
    answer: str = ""


def _openai_body(model: str, query: str, whole: bool) -> Mapping[str, object]:
    return {"model": model, "stream": not whole, "messages": [{"role": "user", "content": query}]}


def _dify_body(_model: str, query: str, whole: bool) -> Mapping[str, object]:
    mode = "blocking" if whole else "streaming"
    return {"inputs": {}, "query": query, "response_mode": mode, "user": "bench"}


def _read_completion(body: bytes) -> str:
    choice = _decode(body, _Completion).choices[0]
    if choice.finish_reason != "stop":
        raise WrongAnswer(f"`finish_reason` is {choice.finish_reason!r}")
    return choice.message.content


def _read_chunks(body: bytes) -> str:
    *payloads, done = _payloads(body)
    if done != b"[DONE]":
        raise WrongAnswer("the stream does not end in `[DONE]`")
    chunks = [_decode(payload, _Chunk) for payload in payloads]
    choices = [choice for chunk in chunks for choice in chunk.choices]
    if [choice.finish_reason for choice in choices if choice.finish_reason] != ["stop"]:
        raise WrongAnswer("`stop` must be said once")
    return "".join(choice.delta.content or "" for choice in choices)


def _read_blocking(body: bytes) -> str:
    return _decode(body, _Event).answer


def _read_events(body: bytes) -> str:
    *events, end = (_decode(payload, _Event) for payload in _payloads(body))
    if end.event != "message_end":
        raise WrongAnswer(f"the stream ends in `{end.event}`")
    return "".join(event.answer for event in events)


def _payloads(body: bytes) -> list[bytes]:
    frames = body.split(b"\n\n")
    if frames.pop():
        raise WrongAnswer("the stream ends inside an event")
    payloads = [frame.removeprefix(b"data: ") for frame in frames if not frame.startswith(b":")]
    if not payloads:
        raise WrongAnswer("the stream has no events")
    return payloads


def _decode(payload: bytes, shape: type[_ShapeT]) -> _ShapeT:
    try:
        return msgspec.json.decode(payload, type=shape)
    except msgspec.MsgspecError as error:
        raise WrongAnswer(f"{payload[:80]!r} is no {shape.__name__.lstrip('_')}: {error}") from error


OPENAI = Dialect("/v1/chat/completions", API_KEY, _openai_body, _read_completion, _read_chunks)
DIFY = Dialect("/v1/chat-messages", APP_KEY, _dify_body, _read_blocking, _read_events)
DIALECTS: Mapping[str, Dialect] = {"openai": OPENAI, "dify": DIFY}


def usual_door(port: int, dialect: str) -> Door:
    """Where and as whom a target is asked that is configured as ours are."""
    spoken = DIALECTS[dialect]
    return Door(port=port, path=spoken.path, key=spoken.key, model=MODEL, dialect=dialect)
