"""Greenlets that answer requests."""

import gevent
from gevent.event import Event

from opendify.serving.greenlets import AnsweringGreenlets

_PATIENCE_SECONDS = 20.0


class Job:
    """Work that lasts until it is released."""

    def __init__(self) -> None:
        self.has_begun, self._goes_on = Event(), Event()

    def __call__(self) -> None:
        self.has_begun.set()
        assert self._goes_on.wait(_PATIENCE_SECONDS)

    def release(self) -> None:
        self._goes_on.set()


def test_work_is_done_beside_whoever_submits_it() -> None:
    greenlets, job = AnsweringGreenlets(2), Job()

    greenlets.submit(job)

    assert job.has_begun.wait(_PATIENCE_SECONDS)
    assert not _somebody_waits(greenlets)
    job.release()


def test_what_is_too_much_waits_until_somebody_is_free() -> None:
    greenlets, jobs = AnsweringGreenlets(2), [Job() for _ in range(4)]
    for job in jobs:
        greenlets.submit(job)
    gevent.sleep(0.01)
    assert [job.has_begun.is_set() for job in jobs] == [True, True, False, False]
    assert _somebody_waits(greenlets)

    jobs[1].release()

    assert jobs[2].has_begun.wait(_PATIENCE_SECONDS)
    assert not jobs[3].has_begun.is_set()
    jobs[0].release()
    assert jobs[3].has_begun.wait(_PATIENCE_SECONDS)
    assert not _somebody_waits(greenlets)
    for job in jobs:
        job.release()


def test_who_is_free_again_takes_work_anew() -> None:
    greenlets = AnsweringGreenlets(1)

    for job in (Job(), Job(), Job()):
        greenlets.submit(job)
        assert job.has_begun.wait(_PATIENCE_SECONDS)
        job.release()
        gevent.sleep(0.01)
        assert not _somebody_waits(greenlets)


def _somebody_waits(greenlets: AnsweringGreenlets) -> bool:
    return greenlets.are_wanted
