"""What few different spans have in common: names and attributes that do not change from request to request.

A shape is made once, and found again by what it was made of; so it can be encoded once too.
The names are those of one release of OpenTelemetry's conventions, which change often.

Source: https://opentelemetry.io/docs/specs/semconv/gen-ai/
"""

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal
from urllib.parse import urlsplit

Attributes = Mapping[str, str | int | float]
AttributeItems = tuple[tuple[str, str | int | float], ...]

CONVENTIONS: Final = "https://opentelemetry.io/schemas/1.44.0"

_MOST_SHAPES: Final = 1_024
_PROVIDER: Final = "dify"
# A mode that is not here answers in a chat.
_OPERATIONS: Final[Mapping[str, str]] = {
    "completion": "text_completion",
    "workflow": "invoke_workflow",
    "agent-chat": "invoke_agent",
    "agent": "invoke_agent",
}
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"})
_OTHER_METHOD: Final = "_OTHER"


@dataclass(frozen=True, slots=True, eq=False)
class SpanShape:
    """Known by being the same object; `failed` by a fault of a server."""

    name: str
    kind: Literal["server", "client"]
    attributes: Attributes
    failed: bool


@dataclass(frozen=True, slots=True, eq=False)
class RunShape(SpanShape):
    """That of a run, with the attributes of its numbers."""

    duration: AttributeItems
    input_tokens: AttributeItems
    output_tokens: AttributeItems


@functools.lru_cache(maxsize=_MOST_SHAPES)
def request_shape(
    method: str, route: str, status: int, outcome: str, error_type: str | None, *, failed: bool
) -> SpanShape:
    """That of a request, whose `error_type` is what `type_of` says."""
    known = known_method(method)
    attributes = {
        "http.request.method": known,
        "http.route": route,
        "http.response.status_code": status,
        "opendify.outcome": outcome,
        **_failure(error_type),
    }
    return SpanShape(f"{'HTTP' if known == _OTHER_METHOD else known} {route}", "server", attributes, failed)


@functools.lru_cache(maxsize=_MOST_SHAPES)
def run_shape(mode: str, asked: str, answering: str, server: str, error_type: str | None) -> RunShape:
    """That of a run of the model `answering`, in place of the one that was `asked` for."""
    shared = {
        "gen_ai.operation.name": _OPERATIONS.get(mode, "chat"),
        "gen_ai.provider.name": _PROVIDER,
        "gen_ai.request.model": asked,
        "gen_ai.response.model": answering,
        **_server_of(server),
    }
    attributes = {**shared, **_failure(error_type)}
    return RunShape(
        f"{shared['gen_ai.operation.name']} {answering}",
        "client",
        attributes,
        failed=error_type is not None,
        duration=tuple(attributes.items()),
        input_tokens=(*shared.items(), ("gen_ai.token.type", "input")),
        output_tokens=(*shared.items(), ("gen_ai.token.type", "output")),
    )


def known_method(method: str) -> str:
    """A method as the conventions name it: clients can invent any number of others."""
    return method if method in _METHODS else _OTHER_METHOD


def type_of(error: BaseException) -> str:
    """What went wrong, in a word that quotes nobody."""
    return str(getattr(error, "code", None) or type(error).__name__)


def _failure(error_type: str | None) -> Attributes:
    return {"error.type": error_type} if error_type else {}


def _server_of(url: str) -> Attributes:
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return {"server.address": parts.hostname, "server.port": port} if parts.hostname else {}
