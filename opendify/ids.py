"""Ids that nobody can guess, of the system's random numbers: asked for once for many."""

import os
import re
from collections import deque
from typing import Final

_ID_BYTES: Final = 12
_IDS_AT_ONCE: Final = 64

_ID: Final = re.compile(f".{{{2 * _ID_BYTES}}}")

_ready: Final[deque[str]] = deque()
# A child would give the same ones as its parent.
os.register_at_fork(after_in_child=_ready.clear)


def new_id() -> str:
    """24 hexadecimal digits."""
    try:
        return _ready.popleft()
    except IndexError:
        _ready.extend(_ID.findall(os.urandom(_ID_BYTES * _IDS_AT_ONCE).hex()))
        return _ready.popleft()
