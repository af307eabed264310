"""What is seen of one request: each room notes what it learns, and the end tells it all at once."""

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Final, Literal, Protocol

import msgspec

from opendify.errors import (
    ClientLeft,
    ClientLeftEarly,
    DifyCircuitOpen,
    Draining,
    GatewayError,
    PermissionDenied,
    RateLimited,
    TooManyWrongKeys,
    Unauthorized,
    UsageLimited,
    WorkerBusy,
)
from opendify.records import Clock
from opendify.telemetry import instruments as seen
from opendify.telemetry.metrics import OTHER
from opendify.telemetry.processes import collections_told

Outcome = Literal["whole", "failed", "client_gone"]

NO_MODEL: Final = "none"
"""The label of a request that names no model, or none of ours."""

# error, the label of those it turned away; the first that fits.
_REJECTIONS: Final = (
    (WorkerBusy, "worker_busy"),
    (UsageLimited, "key_limit"),
    (TooManyWrongKeys, "wrong_keys"),
    (RateLimited, "rate_limited"),
    (DifyCircuitOpen, "circuit_open"),
    (Draining, "draining"),
)
_GAP_STREAM_EVERY_SECONDS: Final = 1.0
_MOST_GAPS: Final = 64


class RunTrace(Protocol):
    """A run as a trace knows it, and as Dify is told of it."""

    @property
    def trace_id(self) -> str:
        """32 hexadecimal digits, as Dify's `trace_id` takes them."""

    @property
    def traceparent(self) -> str:
        """The W3C header that makes Dify's own spans children of the run's."""


class RequestTrace(Protocol):
    """What follows one request where it is traced."""

    def begin_run(self) -> RunTrace:
        """The request's next run is about to begin."""

    def end(self, seen: "Observation") -> None:
        """The request ended."""


class RunRecord(msgspec.Struct, eq=False):
    """One run at Dify, from its opening on. `model` is the app's name in the table."""

    model: str
    mode: str
    clock: Clock
    began_at: float
    server: str = ""
    """The base URL of its Dify, without what it may hold of secrets."""
    trace: RunTrace | None = None
    ended_at: float | None = None
    error: BaseException | None = None

    def failed(self, error: BaseException) -> None:
        """It ended in `error`."""
        self.error = error

    def over(self, *, whole: bool) -> None:
        """Nobody reads it any more; `whole` where Dify had ended it."""
        if self.ended_at is not None:
            return
        self.ended_at = self.clock()
        seen.RUNS.add(self.model, self._outcome(whole=whole))
        seen.RUN_SECONDS.observe(self.ended_at - self.began_at, self.model)

    def _outcome(self, *, whole: bool) -> str:
        if isinstance(self.error, GatewayError) and not isinstance(self.error, ClientLeft | ClientLeftEarly):
            return self.error.code or OTHER
        if self.error and not isinstance(self.error, GatewayError):
            return "internal_error"
        return "whole" if whole else "stopped"


class Observation(msgspec.Struct, eq=False):
    """One request; times are those of `clock`, a monotonic one."""

    request_id: str = ""
    clock: Clock = time.monotonic
    began_at: float = 0.0
    method: str = ""
    route: str = NO_MODEL
    status: int = 0
    key: str = ""
    """The id of the caller's key."""
    model: str = NO_MODEL
    """The model that was asked for, as the table names it."""
    answered_by: str = ""
    streams: bool = False
    is_repeat: bool = False
    memory_was_lost: bool = False
    first_byte_at: float | None = None
    first_text_at: float | None = None
    ended_at: float | None = None
    prompt_tokens: int = 0
    completion_tokens: int = 0
    is_whole: bool = False
    error: GatewayError | None = None
    minor_error: str | None = None
    """The code of one that is shown in the log, and not counted."""
    trace: RequestTrace | None = None
    runs: list[RunRecord] = []  # Each gets its own: `Struct` copies it.

    def begin_run(self, model: str, mode: str, server: str = "") -> RunRecord:
        """A run of an app is about to be opened, at the Dify whose base URL is `server`."""
        trace = self.trace.begin_run() if self.trace else None
        run = RunRecord(model, mode, self.clock, self.clock(), server, trace)
        self.runs.append(run)
        return run

    def tokens(self, prompt: int, completion: int) -> None:
        """What Dify says it used."""
        self.prompt_tokens, self.completion_tokens = prompt, completion

    @property
    def mode(self) -> str:
        """The mode of the app that answers, empty where none does."""
        return self.runs[-1].mode if self.runs else ""

    @property
    def outcome(self) -> Outcome:
        """How it ended."""
        if isinstance(self.error, ClientLeft | ClientLeftEarly):
            return "client_gone"
        if self.error or self.status >= 400:
            return "failed"
        return "client_gone" if self.streams and not self.is_whole else "whole"

    @property
    def seconds(self) -> float:
        """From its head to the last byte of its answer."""
        return (self.clock() if self.ended_at is None else self.ended_at) - self.began_at

    def end(self) -> None:
        """The last byte left, or nobody takes any more: count it."""
        if self.ended_at is not None:
            return
        self.ended_at = self.clock()
        seconds, outcome = self.seconds, self.outcome
        self._count_request(seconds)
        if self.error:
            self._count_error(self.error, outcome)
        if outcome == "client_gone":
            seen.DISCONNECTS.add(self._phase)
        if self.runs:
            self._count_answer(seconds)
        collections_told.tell(self.ended_at)
        if self.trace:
            self.trace.end(self)

    @property
    def _phase(self) -> str:
        if not self.streams:
            return "whole_answer"
        return "before_first_text" if self.first_text_at is None else "stream"

    def _count_request(self, seconds: float) -> None:
        status = str(self.status)
        seen.REQUESTS.add(self.route, self.model, "true" if self.streams else "false", status)
        seen.DURATIONS.observe(seconds, self.route, self.model)
        if self.key:
            # Who presents no key of ours is known by a digest of it: there may be any number.
            seen.KEY_REQUESTS.add(self.label_of_key, status)

    @property
    def label_of_key(self) -> str:
        """The key's id, where it is one of the operator's."""
        is_made_up = self.key.startswith("#") and self.key not in {"#admin", "#first-key"}
        return "open" if is_made_up else self.key

    def _count_error(self, error: GatewayError, outcome: Outcome) -> None:
        code = error.code or OTHER
        seen.ERRORS.add(error.type, code, self.model)
        if isinstance(error, Unauthorized | PermissionDenied):
            seen.AUTH_FAILURES.add(code)
        reason = next((reason for kind, reason in _REJECTIONS if isinstance(error, kind)), None)
        if self.status >= 400 and reason:
            seen.REJECTED.add(reason)
        if self.streams and self.status < 400 and outcome == "failed":
            seen.ABORTED.add(code)

    def _count_answer(self, seconds: float) -> None:
        if self.first_text_at is not None:
            seen.FIRST_TOKENS.observe(self.first_text_at - self.began_at, self.model)
        if self.prompt_tokens:
            seen.TOKENS.add(self.model, "prompt", by=self.prompt_tokens)
        if self.completion_tokens:
            seen.TOKENS.add(self.model, "completion", by=self.completion_tokens)
        if total := self.prompt_tokens + self.completion_tokens:
            seen.KEY_TOKENS.add(self.label_of_key, by=total)
        if self.memory_was_lost:
            seen.CONVERSATIONS.add("memory_lost")
        for run in self.runs:
            seconds -= (run.ended_at or run.began_at) - run.began_at
        seen.OVERHEADS.observe(max(0.0, seconds), self.model)


class Gaps:
    """Which streams are looked at write by write: one a second, so that the others cost nothing."""

    def __init__(self) -> None:
        self._next_at = 0.0

    def are_due(self, now: float) -> bool:
        """Whether the stream that begins now is one of them."""
        if now < self._next_at:
            return False
        self._next_at = now + _GAP_STREAM_EVERY_SECONDS
        return True


_gaps: Final = Gaps()


def watched(
    pieces: Iterable[bytes], observation: Observation, has_text: Callable[[], bool]
) -> Iterator[bytes]:
    """The beginning of a stream, from which something is learned; `pieces` go on where it ends."""
    for piece in pieces:
        if has_text():
            observation.first_text_at = observation.clock()
            yield piece
            break
        yield piece
    written_at = observation.clock()
    if not _gaps.are_due(written_at):
        return
    gaps = []
    for piece in pieces:
        now = observation.clock()
        gaps.append(now - written_at)
        written_at = now
        yield piece
        if len(gaps) == _MOST_GAPS:
            break
    for gap in gaps:
        seen.TOKEN_GAPS.observe(gap, observation.model)
