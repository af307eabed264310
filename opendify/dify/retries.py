"""Trying again what cannot have started, without hammering a Dify that is away."""

import math
import random
import threading
from collections.abc import Callable
from typing import Final

from opendify.records import Clock
from opendify.telemetry.instruments import RETRIES

# As Envoy's retry budget: of the requests in progress a fifth may be further tries, and three always may.
_LARGEST_SHARE: Final = 0.2
_ALWAYS_ALLOWED: Final = 3
_FIRST_PAUSE_SECONDS: Final = 0.25
_PAUSE_GROWTH: Final = 3

Jitter = Callable[[], float]
"""A number from 0 to 1."""


class RetryBudget:
    """How many requests to one server go on, and how many of them try again."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests = 0
        self._retries = 0

    def begin_request(self) -> None:
        """One more goes on."""
        with self._lock:
            self._requests += 1

    def end_request(self) -> None:
        """One less goes on."""
        with self._lock:
            self._requests -= 1

    def begin_retry(self) -> bool:
        """Whether one more may try again; where it may, `end_retry` follows."""
        with self._lock:
            allowed = self._retries < max(_ALWAYS_ALLOWED, _LARGEST_SHARE * self._requests)
            self._retries += allowed
            return allowed

    def end_retry(self) -> None:
        """It turned out, well or not."""
        with self._lock:
            self._retries -= 1


class Retries:
    """The further tries of one request; to be closed."""

    def __init__(
        self,
        budget: RetryBudget,
        *,
        most: int,
        within_seconds: float,
        clock: Clock,
        jitter: Jitter = random.random,
    ) -> None:
        """No try begins later than `within_seconds` from now."""
        self._budget = budget
        self._most = most
        self._clock = clock
        self._jitter = jitter
        self._until = clock() + within_seconds
        self._made = 0
        self._is_trying = False
        self._is_open = True
        budget.begin_request()

    def next_pause(self) -> float | None:
        """Seconds to wait before trying again; None where it is not worth it, or too many do."""
        self.end_try()
        pause = _FIRST_PAUSE_SECONDS * (0.5 + self._jitter()) * math.pow(_PAUSE_GROWTH, self._made)
        if self._made >= self._most or self._clock() + pause > self._until:
            return None
        if not self._budget.begin_retry():
            return None
        self._is_trying = True
        self._made += 1
        RETRIES.add()
        return pause

    def end_try(self) -> None:
        """The last try turned out, well or not."""
        if self._is_trying:
            self._is_trying = False
            self._budget.end_retry()

    def close(self) -> None:
        """The request is over."""
        if self._is_open:
            self._is_open = False
            self.end_try()
            self._budget.end_request()
