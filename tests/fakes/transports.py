"""Real connections to Dify that a test can close, since an app lives as long as its process."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import httpx


@contextmanager
def real_transports() -> Iterator[Callable[[], httpx.BaseTransport]]:
    """A factory for `create_app`; what it made is closed when the block ends."""
    made: list[httpx.HTTPTransport] = []

    def factory() -> httpx.BaseTransport:
        made.append(httpx.HTTPTransport())
        return made[-1]

    try:
        yield factory
    finally:
        for transport in made:
            transport.close()
