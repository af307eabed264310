"""What no client should send, and some do: bodies, paths and headers as hypothesis strategies."""

import copy
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]
Path = tuple[str | int, ...]

CHAT_BODY: dict[str, Json] = {
    "model": "chat",
    "messages": [
        {"role": "system", "content": "Be brief.", "name": "operator"},
        {"role": "user", "content": [{"type": "text", "text": "Hi"}], "id": "m1"},
        {"role": "assistant", "content": None, "tool_calls": [], "reasoning_content": "Hm"},
        {"role": "tool", "content": "42", "tool_call_id": "call_1"},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "Look"},
                {"type": "image_url", "image_url": {"url": "https://host.example/a.png", "detail": "low"}},
                {"type": "image_url", "image_url": "data:image/png;base64,iVBORw0KGgo="},
                {
                    "type": "file",
                    "file": {"file_data": "data:application/pdf;base64,JVBERi0=", "filename": "a.pdf"},
                },
                {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}},
            ],
        },
    ],
    "stream": False,
    "stream_options": {"include_usage": True, "include_obfuscation": False},
    "stop": ["END"],
    "user": "somebody",
    "safety_identifier": "s",
    "inputs": {"query": "x", "number": 3},
    "n": 1,
    "temperature": 1,
    "top_p": 1,
    "presence_penalty": 0,
    "frequency_penalty": 0,
    "max_tokens": 5,
    "max_completion_tokens": 5,
    "seed": 1,
    "logprobs": False,
    "top_logprobs": 0,
    "modalities": ["text"],
    "response_format": {"type": "text"},
    "tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}],
    "tool_choice": "auto",
    "function_call": "none",
    "metadata": {"key": "value"},
    "conversation_id": "c",
}
"""One of everything that a chat request is read for."""

RESPONSES_SHAPED_BODY: dict[str, Json] = {
    "model": "chat",
    "input": [
        {"role": "user", "content": [{"type": "input_text", "text": "Hi"}]},
        {"type": "reasoning", "summary": []},
        {"type": "function_call_output", "call_id": "c", "output": "forty"},
        {"type": "item_reference", "id": "rs_1"},
        {"role": "user", "content": [{"type": "input_image", "image_url": "https://host.example/a.png"}]},
    ],
    "instructions": "Be brief.",
    "stream": True,
    "store": True,
    "text": {"format": {"type": "text"}},
    "reasoning": {"effort": "low", "summary": None},
    "tool_choice": "auto",
    "truncation": "auto",
}
"""What clients of the Responses API send, and what Cursor sends to the chat endpoint for some model names."""

COMPLETION_BODY: dict[str, Json] = {
    "model": "completion",
    "prompt": ["Say this is a test"],
    "stream": False,
    "stream_options": {"include_usage": True},
    "stop": "END",
    "user": {"id": "somebody"},
    "inputs": {"query": "x"},
    "n": 1,
    "best_of": 1,
    "echo": True,
    "suffix": "",
    "logprobs": 0,
    "temperature": 0.5,
    "max_tokens": 0,
}

_NASTY: tuple[Json, ...] = (
    "",
    " ",
    "\x00",
    "\ud800",
    "\udfff\ud800",
    "\ufeff",
    "\u2028",
    "a\r\nb",
    "🎉" * 50,
    "data:",
    "data:,",
    "data:image/png;base64,%%%",
    "data:;base64,====",
    "data:a/b;base64,A",
    "http://[",
    "http://",
    "https://user@host.example:99999999/",
    "file:///etc/passwd",
    "chat",
    "workflow",
    "completion",
    "no such model",
    0,
    -1,
    2**31,
    2**63,
    2**64,
    -(10**400),
    1e308,
    -0.0,
    float("nan"),
    float("inf"),
    [],
    {},
    [None, None],
    [[]],
    [[[[[[[[[[]]]]]]]]]],
    {"": None},
    {"type": None},
    {"type": "text"},
    {"type": []},
    {"id": {}},
    {"url": None},
    True,
    False,
    None,
)

_texts = st.text(st.characters(codec=None), max_size=12)
_scalars = st.none() | st.booleans() | st.integers() | st.floats() | _texts
json_values: SearchStrategy[Json] = st.sampled_from(_NASTY) | st.recursive(
    _scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_texts, inner, max_size=3),
    max_leaves=6,
)


def mutated(body: Mapping[str, Json]) -> SearchStrategy[Json]:
    """`body` with one to three places replaced, left out, doubled or wrapped; still JSON."""

    @st.composite
    def mutate(draw: DrawFn) -> Json:
        mutant: Json = copy.deepcopy(dict(body))
        for _ in range(draw(st.integers(1, 3))):
            path = draw(st.sampled_from(list(_paths(mutant))))
            mutant = _changed_at(mutant, path, draw(_changes()))
        return mutant

    return mutate()


def encoded(values: SearchStrategy[Json]) -> SearchStrategy[bytes]:
    """JSON as clients write it: escaped, or in UTF-8, where lone surrogates become invalid bytes."""
    escaped = values.map(lambda value: json.dumps(value).encode())
    plain = values.map(lambda value: json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass"))
    return escaped | plain


def broken_bytes(body: Mapping[str, Json]) -> SearchStrategy[bytes]:
    """What is hardly JSON: noise, nesting without end, cut off, or in another encoding."""
    text = json.dumps(body)
    openings = st.sampled_from([b"[", b'{"a":', b'{"messages":[', b'{"model":"chat","messages":[[', b"[[{},"])
    nested = st.builds(lambda opening, depth: opening * depth, openings, st.integers(1, 20_000))
    closed = st.integers(1, 20_000).map(lambda depth: b'{"inputs":' * depth + b"1" + b"}" * depth)
    cut = st.integers(0, len(text)).map(lambda length: text[:length].encode())
    numbers = st.integers(1, 5_000).map(lambda digits: b'{"model":"chat","n":' + b"9" * digits + b"}")
    foreign = st.sampled_from(["utf-16", "utf-32", "utf-8-sig", "cp037"]).map(text.encode)
    return st.binary(max_size=60) | nested | closed | cut | numbers | foreign


_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "PROPFIND", "get", "X-Y")
_PATHS = (
    "/",
    "/v1",
    "/v1/v1/",
    "/v1/models",
    "/v1/models/",
    "/v1/models/chat",
    "/v1/models/%2F",
    "/v1/models/..%2F..%2Fetc%2Fpasswd",
    "/models/%FF%FE",
    "/v1/chat/completions",
    "/v1//chat//completions/",
    "/completions",
    "/openai/deployments/chat/chat/completions",
    "/openai/deployments//chat/completions",
    "/openai/deployments/a%2Fb/completions",
    "/health",
    "/health/ready",
    "//",
    "/%00",
    "/static/../../x",
)
_HEADERS = (
    "Accept",
    "Accept-Encoding",
    "Authorization",
    "Content-Encoding",
    "Content-Type",
    "Cookie",
    "Expect",
    "Forwarded",
    "Host",
    "If-None-Match",
    "Origin",
    "Range",
    "Referer",
    "Sec-Fetch-Site",
    "Transfer-Encoding",
    "User-Agent",
    "X-Chat-Id",
    "X-Dify-Conversation-Id",
    "X-Forwarded-For",
    "X-Forwarded-Host",
    "X-OpenWebUI-Chat-Id",
    "X-OpenWebUI-User-Id",
    "X-Request-Id",
    "X-Stainless-Retry-Count",
    "api-key",
    "x-api-key",
)
_header_texts = st.text(
    st.characters(min_codepoint=32, max_codepoint=255, exclude_categories=["Cc"]), max_size=30
)


@dataclass(frozen=True)
class OddRequest:
    """A request of any method to any URL."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes


odd_headers = st.dictionaries(
    st.sampled_from(_HEADERS),
    _header_texts | st.sampled_from(["*", "gzip", "Bearer ", "null", "100-continue"]),
)
odd_requests = st.builds(
    OddRequest,
    st.sampled_from(_METHODS),
    st.sampled_from(_PATHS)
    | st.text(st.characters(codec="utf-8", exclude_characters="?"), max_size=20).map(lambda text: f"/{text}"),
    st.sampled_from(["", "api-version=2024-10-21", "a=%FF&a", "%00=%"]) | st.text(max_size=10).map(ascii),
    odd_headers,
    st.sampled_from([b"", b"{}", b"[]", b"\xff", json.dumps(COMPLETION_BODY).encode()])
    | st.binary(max_size=20),
)


def _paths(value: Json, here: Path = ()) -> Iterator[Path]:
    """Where something stands in `value`, itself included."""
    yield here
    children: Iterator[tuple[str | int, Json]] = iter(())
    if isinstance(value, dict):
        children = iter(list(value.items()))
    elif isinstance(value, list):
        children = iter(list(enumerate(value)))
    for step, child in children:
        yield from _paths(child, (*here, step))


Change = Callable[[Json], list[Json]]
"""What takes a value's place: nothing, one value, or in a list several."""


@st.composite
def _changes(draw: DrawFn) -> Change:
    other = draw(json_values)
    changes: list[Change] = [
        lambda _: [other],
        lambda _: [],
        lambda value: [value, value],
        lambda value: [[value]],
        lambda value: [{"value": value}],
        lambda value: [str(value)],
        lambda value: [value, other],
    ]
    return draw(st.sampled_from(changes))


def _changed_at(value: Json, path: Path, change: Change) -> Json:
    if not path:
        return (change(value) or [None])[-1]
    step, rest = path[0], path[1:]
    if isinstance(value, dict) and isinstance(step, str):
        replaced = [_changed_at(value[step], rest, change)] if rest else change(value[step])
        kept = {key: child for key, child in value.items() if key != step}
        return kept | ({step: replaced[-1]} if replaced else {})
    if isinstance(value, list) and isinstance(step, int):
        replaced = [_changed_at(value[step], rest, change)] if rest else change(value[step])
        return [*value[:step], *replaced, *value[step + 1 :]]
    return value
