"""The system's own calls, also where gevent has put others in their place: for what never waits."""

import select
import socket
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any


def waits_in_gevent() -> bool:
    """Whether those who wait do so in gevent's loop, and may not hold the process up."""
    monkey = sys.modules.get("gevent.monkey")
    return monkey is not None and bool(monkey.is_module_patched("select"))


def _own(module: ModuleType, name: str) -> Any:
    monkey = sys.modules.get("gevent.monkey")
    return monkey.get_original(module.__name__, name) if monkey else getattr(module, name)


if TYPE_CHECKING:
    KernelPoll = select.poll
    KernelSocket = socket.socket
else:
    KernelPoll = _own(select, "poll")
    KernelSocket = _own(socket, "socket")


def is_ready(file: socket.socket | int, events: int) -> bool:
    """Whether one of `events`, which are those of `poll`, an end or an error is there now."""
    poll = KernelPoll()
    poll.register(file, events)
    return bool(poll.poll(0))
