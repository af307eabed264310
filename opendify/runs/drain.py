"""How long answers may go on in a process that has been told to end, and how many still do."""

import math
import time
from collections.abc import Callable

from opendify.errors import Draining
from opendify.records import Clock

_TICK_SECONDS = 0.05


class Drain:
    """The end of this process, as its answers see it.

    Whoever serves the app tells it when the process is to end (`follow`); without
    that it never is. Made once and then forked, so it holds neither threads nor locks.
    """

    def __init__(self, *, clock: Clock = time.monotonic, sleep: Callable[[float], None] = time.sleep) -> None:
        """`clock` is a monotonic one."""
        self._clock = clock
        self._sleep = sleep
        self._is_told_to_end: Callable[[], bool] = lambda: False
        self._on_begin: Callable[[], None] = lambda: None
        self._budget_seconds = math.inf
        self._ends_at: float | None = None
        self._open: set[object] = set()

    def follow(
        self,
        is_told_to_end: Callable[[], bool],
        budget_seconds: float,
        on_begin: Callable[[], None] = lambda: None,
    ) -> None:
        """Ask `is_told_to_end` from now on; answers may go on for `budget_seconds` after it says so.

        `on_begin` is called once then, by whichever thread found out.
        """
        self._is_told_to_end, self._budget_seconds = is_told_to_end, budget_seconds
        self._on_begin = on_begin

    def begin(self) -> None:
        """The process is to end; answers may go on for their budget."""
        if self._ends_at is None:
            self._ends_at = self._clock() + self._budget_seconds
            self._on_begin()

    def end_now(self) -> None:
        """The process is to end at once."""
        self.begin()
        self._ends_at = -math.inf

    @property
    def has_begun(self) -> bool:
        """Whether the process is to end."""
        if self._ends_at is None and self._is_told_to_end():
            self.begin()
        return self._ends_at is not None

    @property
    def is_over(self) -> bool:
        """Whether the time that answers had left is up."""
        return self.has_begun and self._ends_at is not None and self._clock() >= self._ends_at

    @property
    def open_answers(self) -> int:
        """How many answers still run, or are being stopped at Dify."""
        return len(self._open)

    def enter(self, answer: object) -> None:
        """An answer begins; it must `leave`."""
        self._open.add(answer)

    def leave(self, answer: object) -> None:
        """Nothing goes on for this answer any more."""
        self._open.discard(answer)

    def refuse_new(self) -> None:
        """Begin nothing that could not be finished.

        Raises:
            Draining: The time is up.
        """
        if self.is_over:
            raise Draining("The service is restarting; please try again.")

    def cut_short(self) -> None:
        """Go no further with an answer whose time is up.

        Raises:
            Draining: The time is up.
        """
        if self.is_over:
            message = "The service is restarting and could not wait for the end of this answer."
            raise Draining(message).after_work()

    def wait_until_idle(self, seconds: float) -> bool:
        """Whether nothing is open any more, waiting at most so long."""
        deadline = self._clock() + seconds
        while self._open:
            if self._clock() >= deadline:
                return False
            self._sleep(_TICK_SECONDS)
        return True
