"""The real app with three faults in it, for a server that must survive them: `GET /hang/HOW`."""

import re
import time
from collections.abc import Callable, Mapping
from typing import Final

from main import app

__all__ = ["app"]


def _sleep() -> None:
    """Another thread may go on, and with gevent another greenlet."""
    time.sleep(600)


def _work() -> None:
    """Another thread may go on, but no other greenlet."""
    while True:
        pass


def _hold_the_interpreter() -> None:
    """No other thread goes on: the regular expression tries 2**60 ways without a pause."""
    re.fullmatch("(a+)+b", "a" * 60)


WAYS: Final[Mapping[str, Callable[[], None]]] = {
    "sleep": _sleep,
    "work": _work,
    "hold": _hold_the_interpreter,
}


@app.get("/hang/<how>")
def hang(how: str) -> str:
    WAYS[how]()
    return "It did not hang"
