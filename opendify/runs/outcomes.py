"""How a request ended, as bytes that can be kept: its whole answer, or its failure."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, get_args

import msgspec

from opendify.errors import GatewayError
from opendify.translate.turn import ReplyEvent
from opendify.wire.sse import encode_json

_KINDS: Final = {kind.__name__: kind for kind in get_args(ReplyEvent)}


class Outcome(msgspec.Struct, frozen=True):
    """`failure` is None where `events` are a whole answer."""

    events: Sequence[ReplyEvent] = ()
    memory_was_lost: bool = False
    failure: GatewayError | None = None


@dataclass(frozen=True, slots=True)
class _Failure:
    """What a client can see of an error."""

    message: str
    status: int
    type: str
    code: str | None
    param: str | None
    should_retry: bool | None
    retry_after_seconds: int | None


def write_outcome(outcome: Outcome) -> bytes:
    """JSON in UTF-8."""
    if outcome.failure:
        return encode_json({"failure": msgspec.to_builtins(_describe(outcome.failure))})
    events = [[type(event).__name__, msgspec.to_builtins(event)] for event in outcome.events]
    return encode_json({"events": events, "memory_was_lost": outcome.memory_was_lost})


def read_outcome(written: bytes) -> Outcome:
    """What `write_outcome` wrote.

    Raises:
        ValueError: It is none of ours, or another release's.
    """
    try:
        # msgspec's own decoder refuses the lone surrogates that an answer may hold.
        shape = json.loads(written)
        if "failure" in shape:
            return Outcome(failure=_rebuilt(msgspec.convert(shape["failure"], _Failure)))
        events = [msgspec.convert(fields, _KINDS[kind]) for kind, fields in shape["events"]]
        return Outcome(events, shape["memory_was_lost"] is True)
    except (LookupError, TypeError, ValueError) as error:
        raise ValueError("no outcome that is known here") from error


def _describe(error: GatewayError) -> _Failure:
    return _Failure(
        message=error.message,
        status=error.status,
        type=error.type,
        code=error.code,
        param=error.param,
        should_retry=error.should_retry,
        retry_after_seconds=error.retry_after_seconds,
    )


def _rebuilt(failure: _Failure) -> GatewayError:
    error = GatewayError(failure.message, param=failure.param)
    error.status, error.type, error.code = failure.status, failure.type, failure.code
    error.should_retry, error.retry_after_seconds = failure.should_retry, failure.retry_after_seconds
    return error
