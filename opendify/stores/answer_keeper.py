"""One process's way to the store of answers: a store that is down stops no chat, and what expired goes."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

import msgspec

from opendify.records import Clock
from opendify.stores.answers import NOT_KEPT, AnswerStore, StoredAnswer
from opendify.stores.base import StoreUnavailable
from opendify.stores.renewal import ClaimRenewal
from opendify.telemetry.instruments import STORE_ERRORS

# So long after its holder's death a request counts as one whose outcome nobody knows.
CLAIM_SECONDS: Final = 20.0
_RENEWAL_SECONDS: Final = 5.0
_SWEEP_SECONDS: Final = 15.0
# Of a thread's time so little goes into cleaning, however much is kept.
_SWEEP_SHARE: Final = 1 / 2_000
_LONGEST_PAUSE_SECONDS: Final = 600.0
_MOST_BYTES_OF_ONE: Final = 8 * 1024**2

_Result = TypeVar("_Result")
_Otherwise = TypeVar("_Otherwise")

logger = logging.getLogger(__name__)


class NewRequest(msgspec.Struct, frozen=True):
    """A request that may begin; see `StoredAnswer`. `anew` is one that looks for no other under its key."""

    id: str
    key: str
    fingerprint: str
    user: str
    anew: bool


class AnswerKeeper:
    """Notes requests, and holds them while they go on.

    While the store is down nothing is noted and nothing is known: a repeat of a request
    runs again. `now` is Unix time; `crash_seconds` is how long it is known that a request
    began whose holder died.
    """

    def __init__(
        self,
        store: AnswerStore,
        *,
        crash_seconds: float,
        most_bytes: int,
        now: Clock,
        sweep_seconds: float = _SWEEP_SECONDS,
        renewal_seconds: float = _RENEWAL_SECONDS,
    ) -> None:
        self._store = store
        self._crash_seconds = crash_seconds
        self._now = now
        self._answers = _ForgivingAnswers(store, now)
        self._held = _HeldRequests(self._answers, crash_seconds, renewal_seconds)
        self._sweep = _Sweep(self._answers, most_bytes, sweep_seconds)

    @property
    def failures(self) -> int:
        """How often the store did not answer."""
        return self._answers.failures

    def begin(self, request: NewRequest) -> "StoredAnswer | Note":
        """The one that is known under the request's key; else the request, to be held until it ends."""
        now = self._now()
        answer = StoredAnswer(
            id=request.id,
            key=request.key,
            fingerprint=request.fingerprint,
            user=request.user,
            begun_at=now,
            claimed_until=now + CLAIM_SECONDS,
            expires_at=now + CLAIM_SECONDS + self._crash_seconds,
        )
        known = self._answers.begin(answer, anew=request.anew)
        return known or Note(request.id, self._answers, self._held, self._sweep)

    def look_again(self, known: StoredAnswer) -> StoredAnswer | None:
        """What became of `known`, itself where the store is down; None where it was forgotten."""
        return self._answers.find(known)

    def clean_up(self) -> None:
        """Delete what an earlier process left, too; what this one noted is deleted in time by itself."""
        self._sweep.clean_up()

    def close(self) -> None:
        """End the cleaning, and close the connections; the next use opens others."""
        self._sweep.end()
        self._store.close()


class Note:
    """A request that goes on: its holder ends it, with `finish` or `forget`."""

    def __init__(self, id: str, answers: "_ForgivingAnswers", held: "_HeldRequests", sweep: "_Sweep") -> None:
        self._id = id
        self._answers = answers
        self._held = held
        self._sweep = sweep
        held.add(id)

    def finish(self, outcome: bytes, *, keep_seconds: float) -> None:
        """It ended so; of what is too large it is only known that it ended."""
        self._held.remove(self._id)
        kept = outcome if len(outcome) <= _MOST_BYTES_OF_ONE else NOT_KEPT
        self._answers.finish(self._id, kept, keep_seconds)
        self._sweep.come_by()

    def forget(self) -> None:
        """It never began."""
        self._held.remove(self._id)
        self._answers.forget(self._id)


class _ForgivingAnswers:
    """Never raises `StoreUnavailable`: it is counted, logged, and answered as if nothing were known."""

    def __init__(self, store: AnswerStore, now: Clock) -> None:
        self.failures = 0
        self._store = store
        self._now = now

    def begin(self, answer: StoredAnswer, *, anew: bool) -> StoredAnswer | None:
        return self._ask(lambda: self._store.begin(answer, now=answer.begun_at, anew=anew), None)

    def find(self, known: StoredAnswer) -> StoredAnswer | None:
        return self._ask(lambda: self._store.find(known.id, now=self._now()), known)

    def renew(self, ids: Sequence[str], crash_seconds: float) -> None:
        now = self._now()
        until = now + CLAIM_SECONDS
        times = {"now": now, "claimed_until": until, "expires_at": until + crash_seconds}
        self._ask(lambda: self._store.renew(ids, **times), None)

    def finish(self, id: str, outcome: bytes, keep_seconds: float) -> None:
        now = self._now()
        self._ask(lambda: self._store.finish(id, outcome, now=now, expires_at=now + keep_seconds), None)

    def forget(self, id: str) -> None:
        self._ask(lambda: self._store.forget(id), None)

    def clean_up(self, most_bytes: int) -> int:
        return self._ask(lambda: self._store.clean_up(now=self._now(), most_bytes=most_bytes), 1)

    def _ask(self, ask: Callable[[], _Result], otherwise: _Otherwise) -> _Result | _Otherwise:
        try:
            return ask()
        except StoreUnavailable:
            self.failures += 1
            STORE_ERRORS.add("answers")
            logger.warning("the store of answers did not answer", exc_info=True)
            return otherwise


class _HeldRequests:
    """Those of this process that go on: renewed in one call, so that many and a slow store let none lapse."""

    def __init__(self, answers: _ForgivingAnswers, crash_seconds: float, interval_seconds: float) -> None:
        self._answers = answers
        self._crash_seconds = crash_seconds
        self._renewal = ClaimRenewal(interval_seconds=interval_seconds)
        self._ids: set[str] = set()
        self._lock = threading.Lock()

    def add(self, id: str) -> None:
        with self._lock:
            self._ids.add(id)
            self._renewal.add(self)

    def remove(self, id: str) -> None:
        with self._lock:
            self._ids.discard(id)
            if not self._ids:
                self._renewal.remove(self)

    def keep(self) -> None:
        with self._lock:
            ids = sorted(self._ids)
        if ids:
            self._answers.renew(ids, self._crash_seconds)


class _Sweep:
    """Deletes what has expired: one thread a process, and only while there is anything to delete."""

    def __init__(self, answers: _ForgivingAnswers, most_bytes: int, interval_seconds: float) -> None:
        self._answers = answers
        self._most_bytes = most_bytes
        self._interval_seconds = interval_seconds
        self._lock = threading.Lock()
        self._is_due = False
        # Each thread has its own, so that one which is slow to end is never taken for the next.
        self._end: threading.Event | None = None

    def come_by(self) -> None:
        """There is something that will expire."""
        with self._lock:
            self._is_due = True
            if self._end:
                return
            end = threading.Event()
            threading.Thread(target=self._run, args=[end], name="answer-sweep", daemon=True).start()
            self._end = end

    def clean_up(self) -> int:
        """At once; how many are left."""
        return self._answers.clean_up(self._most_bytes)

    def end(self) -> None:
        """Until somebody calls `come_by` again."""
        with self._lock:
            if self._end:
                self._end.set()
            self._end = None

    def _run(self, end: threading.Event) -> None:
        pause_seconds = self._interval_seconds
        while not end.wait(pause_seconds):
            self._is_due = False
            is_more_to_come, pause_seconds = self._sweep()
            with self._lock:
                if not (is_more_to_come or self._is_due or end.is_set()):
                    self._end = None
                    return

    def _sweep(self) -> tuple[bool, float]:
        """Whether anything is left that will expire, and how long to wait for it."""
        began_at = time.monotonic()
        try:
            is_more_to_come = self.clean_up() > 0
        except Exception:
            logger.exception("what expired could not be deleted")
            return True, self._interval_seconds
        return is_more_to_come, pause_after(time.monotonic() - began_at, self._interval_seconds)


def pause_after(sweep_seconds: float, interval_seconds: float) -> float:
    """How long the next sweep waits: responses are kept for weeks, and each sweep looks at all of them."""
    return max(interval_seconds, min(sweep_seconds / _SWEEP_SHARE, _LONGEST_PAUSE_SECONDS))
