"""How many requests each of Gunicorn's workers serves at once, and that the app is told."""

from types import SimpleNamespace

import pytest
from gunicorn.config import Config
from gunicorn.workers.base import Worker
from gunicorn.workers.base_async import AsyncWorker
from gunicorn.workers.gthread import ThreadWorker
from gunicorn.workers.sync import SyncWorker

from opendify.errors import ClientLeft
from opendify.records import NOBODY, Client
from opendify.serving.capacity import capacity_of, limit_chats
from opendify.serving.slots import SLOTS, Slots


def worker_of(kind: type[Worker]) -> Worker:
    worker = kind.__new__(kind)
    worker.cfg = Config()
    worker.cfg.set("threads", 16)
    worker.cfg.set("worker_connections", 64)
    return worker


@pytest.mark.parametrize(("kind", "capacity"), [(SyncWorker, None), (ThreadWorker, 16), (AsyncWorker, 64)])
def test_the_capacity_is_that_of_the_worker_s_class(kind: type[Worker], capacity: int | None) -> None:
    assert capacity_of(worker_of(kind)) == capacity


@pytest.mark.parametrize(("kind", "chats"), [(ThreadWorker, 14), (AsyncWorker, 60)])
def test_the_app_s_slots_are_limited_by_it(kind: type[Worker], chats: int) -> None:
    slots = Slots(queue_length=16, queue_seconds=20)
    worker = worker_of(kind)
    app = SimpleNamespace(extensions={SLOTS: slots})  # Enough of Flask.
    worker.app = SimpleNamespace(callable=app)  # type: ignore[assignment] # Enough of Gunicorn's wiring.

    limit_chats(worker)

    for _ in range(chats):
        slots.enter(NOBODY)
    with pytest.raises(ClientLeft):
        slots.enter(Client(lambda: True))


def test_a_worker_that_serves_one_request_at_a_time_limits_nothing() -> None:
    limit_chats(worker_of(SyncWorker))
