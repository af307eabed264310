"""How long a scripted Dify's answers take."""

import time

from tests.fakes.frames import END, message
from tests.fakes.live_dify import LiveDify, Script, Wire


def lasting(seconds: float) -> Script:
    """A word each 50 ms for so long, and then the end."""

    def script(wire: Wire) -> None:
        wire.head()
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            wire.chunk(message("la "))
            wire.hold(0.05)
        wire.chunk(END)
        wire.end()

    return script


def until_stopped(dify: LiveDify, *, stops: int = 1) -> Script:
    """A word each 50 ms until Dify was told to stop so many runs."""

    def script(wire: Wire) -> None:
        wire.head()
        while len(dify.stops) < stops and not wire.hold(0.05):
            wire.chunk(message("la "))
        wire.chunk(END)
        wire.end()

    return script
