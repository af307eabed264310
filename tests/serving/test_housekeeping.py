"""A worker cleans up files from its beginning to its end."""

import os
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from gunicorn.workers.base import Worker
from gunicorn.workers.sync import SyncWorker

from opendify.files.disk import DiskFiles
from opendify.files.keeper import FileKeeper
from opendify.serving.housekeeping import FILES, begin_housekeeping, end_housekeeping
from opendify.settings.files import FileSettings
from tests.fakes.waiting import wait_until


def worker_with(extensions: dict[str, object], pid: int) -> Worker:
    worker = SyncWorker.__new__(SyncWorker)
    worker.pid = pid  # type: ignore[assignment] # Typeshed's is a word, Gunicorn's a number.
    app = SimpleNamespace(extensions=extensions)  # Enough of Flask.
    worker.app = SimpleNamespace(callable=app)  # type: ignore[assignment] # Enough of Gunicorn's wiring.
    return worker


@pytest.fixture
def housekeepers() -> Callable[[], int]:
    """How many began since the test did, and still are at work."""
    before = set(threading.enumerate())
    return lambda: len(set(threading.enumerate()) - before)


@pytest.fixture
def keeper(tmp_path: Path) -> FileKeeper:
    return FileKeeper(DiskFiles(tmp_path / "files"), FileSettings())


def test_a_worker_keeps_house_until_it_ends(keeper: FileKeeper, housekeepers: Callable[[], int]) -> None:
    worker = worker_with({FILES: keeper}, os.getpid())

    begin_housekeeping(worker)
    assert housekeepers() == 1
    end_housekeeping(worker)

    assert wait_until(lambda: housekeepers() == 0, seconds=20)


def test_the_master_ends_nothing_in_place_of_a_dead_worker(
    keeper: FileKeeper, housekeepers: Callable[[], int]
) -> None:
    begin_housekeeping(worker_with({FILES: keeper}, os.getpid()))

    end_housekeeping(worker_with({FILES: keeper}, os.getpid() + 1))

    assert housekeepers() == 1
    keeper.close()
    assert wait_until(lambda: housekeepers() == 0, seconds=20)


def test_a_worker_that_has_loaded_no_app_has_nothing_to_keep() -> None:
    worker = worker_with({}, os.getpid())

    begin_housekeeping(worker)
    end_housekeeping(worker)
