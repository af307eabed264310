"""Threads that answer requests."""

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from opendify.serving.threads import AnsweringThreads

_PATIENCE_SECONDS = 30.0


@pytest.fixture
def threads() -> Iterator[AnsweringThreads]:
    threads = AnsweringThreads(2)
    yield threads
    threads.end()


class Job:
    """Work that lasts until it is released, and tells where it is done."""

    def __init__(self) -> None:
        self.thread: threading.Thread | None = None
        self._began, self._goes_on, self._is_over = (threading.Event() for _ in range(3))

    def __call__(self) -> None:
        self.thread = threading.current_thread()
        self._began.set()
        assert self._goes_on.wait(_PATIENCE_SECONDS)
        self._is_over.set()

    def wait_until_begun(self) -> None:
        assert self._began.wait(_PATIENCE_SECONDS)

    def has_begun(self) -> bool:
        return self._began.is_set()

    def release(self) -> None:
        self._goes_on.set()
        assert self._is_over.wait(_PATIENCE_SECONDS)


def test_no_more_threads_are_begun_than_are_needed(threads: AnsweringThreads) -> None:
    doers = [_done_by(threads) for _ in range(3)]

    assert len(set(doers)) == 1


def test_work_waits_while_all_threads_are_busy(threads: AnsweringThreads) -> None:
    first, second, third = Job(), Job(), Job()
    for job in (first, second, third):
        threads.submit(job)
    first.wait_until_begun()
    second.wait_until_begun()

    assert not third.has_begun()

    second.release()
    third.wait_until_begun()
    assert third.thread is second.thread
    first.release()
    third.release()


def test_the_end_waits_for_all_that_was_submitted() -> None:
    threads, done = AnsweringThreads(1), list[str]()
    for name in ("first", "second", "third"):
        threads.submit(_noting(done, name))

    threads.end()

    assert done == ["first", "second", "third"]


def _noting(done: list[str], name: str) -> Callable[[], None]:
    return lambda: done.append(name)


def _done_by(threads: AnsweringThreads) -> threading.Thread:
    """Who does a piece of work, once it rests again."""
    job = Job()
    threads.submit(job)
    job.wait_until_begun()
    job.release()
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not threads.resting and time.monotonic() < deadline:
        time.sleep(0.001)
    assert job.thread
    return job.thread


def test_they_are_wanted_while_work_waits(threads: AnsweringThreads) -> None:
    jobs = [Job() for _ in range(3)]

    wanted = []
    for job in jobs:
        threads.submit(job)
        wanted.append(threads.are_wanted)

    assert wanted == [False, False, True]
    for job in jobs:
        job.wait_until_begun()
        job.release()
