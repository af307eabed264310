"""The request at hand: its id, what its answer is given besides, and the line that its end leaves behind."""

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextvars import ContextVar
from typing import TYPE_CHECKING, Final

from opendify.ids import new_id
from opendify.telemetry.logs import REQUEST_LOGGER, info_record
from opendify.telemetry.observation import NO_MODEL, Observation
from opendify.telemetry.tracing import CONTEXT_HEADERS, Tracing

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

# What a request's environment holds of it.
_OBSERVATION: Final = "opendify.observation"
_MORE_HEADERS: Final = "opendify.more_headers"
_AT_END: Final = "opendify.at_end"
_CONTEXT: Final = tuple((name, f"HTTP_{name.upper()}") for name in CONTEXT_HEADERS)

_at_hand: ContextVar["WSGIEnvironment"] = ContextVar("request at hand")

logger = logging.getLogger(REQUEST_LOGGER)


class ObservedRequests:
    """WSGI middleware: the end of every answer, errors included, is counted and told."""

    def __init__(self, app: "WSGIApplication", tracing: Tracing | None = None) -> None:
        self._app = app
        self._tracing = tracing

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        """See PEP 3333."""
        environ[_OBSERVATION] = self._begin(environ)
        token = _at_hand.set(environ)
        try:
            return _ObservedAnswer(self._app(environ, start_response), environ)
        except BaseException:
            _give_back(environ)
            raise
        finally:
            _at_hand.reset(token)

    def _begin(self, environ: "WSGIEnvironment") -> Observation:
        method = environ["REQUEST_METHOD"]
        observed = Observation(f"req_{new_id()}", began_at=time.monotonic(), method=method)
        if self._tracing:
            sent = {name: value for name, key in _CONTEXT if (value := environ.get(key))}
            observed.trace = self._tracing.begin(method, sent)
        return observed


class _ObservedAnswer:
    """An answer whose end is told."""

    def __init__(self, answer: Iterable[bytes], environ: "WSGIEnvironment") -> None:
        self._answer = answer
        self._environ = environ

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._answer)

    def close(self) -> None:
        """See PEP 3333."""
        try:
            close = getattr(self._answer, "close", None)
            if close:
                close()
        finally:
            _give_back(self._environ)
            _tell(self._environ[_OBSERVATION])


def _give_back(environ: "WSGIEnvironment") -> None:
    for give_back in environ.pop(_AT_END, ()):
        give_back()


def _tell(observed: Observation) -> None:
    observed.end()
    if logger.isEnabledFor(logging.INFO):
        logger.handle(info_record(REQUEST_LOGGER, "request ended", _fields(observed)))


def environ_at_hand() -> "WSGIEnvironment":
    """The WSGI environment of the request that this thread answers; gone when its pieces leave."""
    return _at_hand.get()


def observation() -> Observation:
    """That of the request at hand."""
    observed: Observation = _at_hand.get()[_OBSERVATION]
    return observed


def begin_answer(environ: "WSGIEnvironment", status: str) -> list[tuple[str, str]]:
    """The head of a request's answer is there: what else it is to hold, its `x-request-id` at least."""
    observed: Observation = environ[_OBSERVATION]
    observed.status = int(status[:3])
    observed.first_byte_at = time.monotonic()
    return [*environ.get(_MORE_HEADERS, ()), ("x-request-id", observed.request_id)]


def add_headers(headers: Mapping[str, str]) -> None:
    """To the answer of the request at hand, whatever it will be."""
    _at_hand.get().setdefault(_MORE_HEADERS, []).extend(headers.items())


def at_end(give_back: Callable[[], None]) -> None:
    """Have it called when the answer of the request at hand is closed; it raises nothing."""
    _at_hand.get().setdefault(_AT_END, []).append(give_back)


def _fields(seen: Observation) -> Mapping[str, object]:
    """What the line says; what a request does not have is left out."""
    first_byte_at = seen.began_at if seen.first_byte_at is None else seen.first_byte_at
    fields: dict[str, object] = {
        "request_id": seen.request_id,
        "method": seen.method,
        "route": seen.route,
        "status": seen.status,
        "outcome": seen.outcome,
        "first_byte_seconds": _to_microseconds(first_byte_at - seen.began_at),
        "seconds": _to_microseconds(seen.seconds),
    }
    error = seen.error.code if seen.error else seen.minor_error
    if seen.key:
        fields["key"] = seen.key
    if error:
        fields["error"] = error
    if seen.model != NO_MODEL:
        _add_chat_fields(fields, seen)
    return fields


def _to_microseconds(seconds: float) -> float:
    """Rounded; `round` makes a text of it and reads that."""
    return int(seconds * 1e6 + 0.5) / 1e6


def _add_chat_fields(fields: dict[str, object], seen: Observation) -> None:
    fields["model"] = seen.model
    if seen.answered_by not in ("", seen.model):
        fields["answered_by"] = seen.answered_by
    if seen.mode:
        fields["mode"] = seen.mode
    if seen.streams:
        fields["stream"] = True
    if seen.is_repeat:
        fields["repeat"] = True
    if seen.memory_was_lost:
        fields["memory_lost"] = True
    if seen.prompt_tokens:
        fields["prompt_tokens"] = seen.prompt_tokens
    if seen.completion_tokens:
        fields["completion_tokens"] = seen.completion_tokens
