"""What a key may in a minute and at once, counted over all who serve it."""

import logging
import math
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, NoReturn, Protocol

from opendify.audit.log import AuditLog
from opendify.errors import AccessUnknown, UsageLimited
from opendify.records import Caller, CallerLimits, Clock
from opendify.settings.access import OnStoreFailure
from opendify.stores.base import StoreUnavailable
from opendify.stores.windows import UNLIMITED, Amount, Window, WindowStore
from opendify.telemetry.instruments import LIMIT_HITS, STORE_ERRORS

_CLEAN_UP_SECONDS: Final = 600.0
_LEAVE_ALONE_SECONDS: Final = 1.0
_MOST_NOTED: Final = 10_000

logger = logging.getLogger(__name__)


class Places(Protocol):
    """Where a caller's requests that go on are counted."""

    def take(self, caller: str, most: int) -> Callable[[], None] | None:
        """A place, as what gives it back; None where all are taken."""
        ...


@dataclass(frozen=True, slots=True)
class Standing:
    """How much of its limits a caller has used, after the request at hand."""

    limits: CallerLimits
    used: Amount
    reset_seconds: float

    def headers(self) -> Mapping[str, str]:
        """As OpenAI tells it.

        Source: https://platform.openai.com/docs/guides/rate-limits
        """
        told = {
            "requests": (self.limits.requests_per_minute, self.used.requests),
            "tokens": (self.limits.tokens_per_minute, self.used.tokens),
        }
        headers = {}
        for name, (most, used) in told.items():
            if most:
                headers[f"x-ratelimit-limit-{name}"] = str(most)
                headers[f"x-ratelimit-remaining-{name}"] = str(max(0, most - used))
                headers[f"x-ratelimit-reset-{name}"] = _duration(self.reset_seconds)
        return headers


class Limiter:
    """Asks nobody for callers without limits. Where a count cannot be had, the operator decides."""

    def __init__(
        self,
        windows: WindowStore | None,
        places: Places,
        audit: AuditLog,
        *,
        on_failure: OnStoreFailure,
        clock: Clock,
        now: Clock,
    ) -> None:
        """`clock` is a monotonic one, `now` Unix time."""
        self._windows = windows
        self._places = places
        self._audit = audit
        self._on_failure = on_failure
        self._clock = clock
        self._now = now
        self._leave_alone_until = float("-inf")
        self._clean_up_at = clock() + _CLEAN_UP_SECONDS
        self._noted: dict[str, float] = {}
        self._lock = threading.Lock()
        self.failures = 0

    def enter(self, caller: Caller) -> Standing | None:
        """Count one request; None where nothing limits the caller, or nothing can be counted.

        Raises:
            UsageLimited: It has used its requests or tokens of this minute.
            AccessUnknown: Nothing can be counted, and the operator wants it shut then.
        """
        limits = caller.limits
        if not (limits.requests_per_minute or limits.tokens_per_minute):
            return None
        window = self.count(f"caller:{caller.id}", Amount(1, 0), _most(limits))
        if window is None:
            self._refuse_if_shut()
            return None
        standing = Standing(limits, window.used, max(0.0, window.ends_at - self._now()))
        if not window.is_let_in:
            self._refuse(caller, standing, window)
        return standing

    def spend(self, caller: Caller, tokens: int) -> None:
        """Count the tokens of an answer; they are used, whatever the limit."""
        if tokens > 0:
            self.count(f"caller:{caller.id}", Amount(0, tokens), Amount(UNLIMITED, UNLIMITED))

    def take_place(self, caller: Caller) -> Callable[[], None] | None:
        """What gives back the caller's place when the answer is closed; None where it needs none.

        Raises:
            UsageLimited: All of them are taken.
            AccessUnknown: As `enter`.
        """
        most = caller.limits.concurrency
        if not most:
            return None
        if self._is_left_alone:
            self._refuse_if_shut()
            return None
        try:
            give_back = self._places.take(caller.id, most)
        except (StoreUnavailable, OSError) as error:
            self._fail(error)
            self._refuse_if_shut()
            return None
        if give_back is None:
            self._note(caller.id, "at once", self._now() + 60)
            raise UsageLimited(
                f"This API key may have {most} requests at once, and has them; try again when one has ended.",
                retry_after_seconds=2,
            )
        return give_back

    def count(self, name: str, amount: Amount, most: Amount) -> Window | None:
        """Count in the window of that name; None where nothing can be counted."""
        if self._windows is None or self._is_left_alone:
            return None
        try:
            self._clean_up(self._windows)
            return self._windows.count(name, amount, most, now=self._now())
        except StoreUnavailable as error:
            self._fail(error)
            return None

    def close(self) -> None:
        """Close this process's connections; the next use opens others."""
        if self._windows:
            self._windows.close()

    def _clean_up(self, windows: WindowStore) -> None:
        if self._clock() < self._clean_up_at:
            return
        self._clean_up_at = self._clock() + _CLEAN_UP_SECONDS
        windows.clean_up(now=self._now())

    @property
    def _is_left_alone(self) -> bool:
        """Whether the store did not answer a moment ago: one that hangs is not waited for by each request."""
        return self._clock() < self._leave_alone_until

    def _fail(self, error: Exception) -> None:
        self.failures += 1
        STORE_ERRORS.add("limits")
        self._leave_alone_until = self._clock() + _LEAVE_ALONE_SECONDS
        logger.warning("limits could not be counted", exc_info=error)

    def _refuse_if_shut(self) -> None:
        if self._on_failure == "shut":
            raise AccessUnknown(
                "The limits of your API key cannot be looked up at the moment; please try again in a moment.",
                code="limits_unavailable",
            )

    def _refuse(self, caller: Caller, standing: Standing, window: Window) -> NoReturn:
        limits, seconds = caller.limits, math.ceil(standing.reset_seconds)
        what, most = "requests", limits.requests_per_minute
        if limits.tokens_per_minute and standing.used.tokens >= limits.tokens_per_minute:
            what, most = "tokens", limits.tokens_per_minute
        self._note(caller.id, what, window.ends_at)
        error = UsageLimited(
            f"Rate limit reached: this API key may use {most} {what} in a minute. "
            f"Please try again in {_duration(standing.reset_seconds)}.",
            retry_after_seconds=seconds,
        )
        error.more_headers = standing.headers()
        raise error

    def is_first(self, name: str, until: float) -> bool:
        """Whether this process has not said so of `name` yet; from `until` on (Unix time) it may again."""
        with self._lock:
            if self._now() < self._noted.get(name, 0.0):
                return False
            if len(self._noted) >= _MOST_NOTED:
                self._noted.clear()
            self._noted[name] = until
            return True

    def _note(self, caller: str, what: str, until: float) -> None:
        """One line in each window, not one for each request that is refused in it; all are counted."""
        LIMIT_HITS.add(what.replace(" ", "_"))
        if self.is_first(f"{what} of {caller}", until):
            self._audit.note_refusal("limit reached", caller=caller, limit=what)


def _most(limits: CallerLimits) -> Amount:
    return Amount(limits.requests_per_minute or UNLIMITED, limits.tokens_per_minute or UNLIMITED)


def _duration(seconds: float) -> str:
    """As OpenAI writes it: `12s`, `1m0s`."""
    minutes, rest = divmod(math.ceil(seconds), 60)
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"
