"""Conversation stores under many threads and processes at once."""

# ruff: noqa: A001 - an id is `id`, as in the stores.

import os
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import closing
from multiprocessing import get_context
from pathlib import Path
from threading import Barrier, Event

import pytest

from opendify.stores import ConversationStore, open_store
from tests.stores.conftest import SQLITE_URL
from tests.stores.conversations import claim_each, claim_matches, conversation, take_turns

THREADS = 16
PROCESSES = 4
GUNICORN_PROCESSES = 9
HEADS = 60


@pytest.fixture(scope="module")
def processes() -> Iterator[ProcessPoolExecutor]:
    with ProcessPoolExecutor(GUNICORN_PROCESSES, mp_context=get_context("spawn")) as executor:
        yield executor


@pytest.mark.parametrize("by", ["id", "key"])
def test_of_many_threads_one_claims_the_head(store: ConversationStore, by: str) -> None:
    together = Barrier(THREADS)

    def race(thread: int) -> list[bool]:
        wins = []
        for head in range(HEADS):
            together.wait(30)
            claim = f"thread-{thread}"
            if by == "id":
                claimed = store.claim(f"id-{head}", claim=claim, now=0, until=1)
            else:
                claimed = store.claim_match(f"key-{head}", claim=claim, until=1)
            wins.append(claimed is not None)
        return wins

    for head in range(HEADS):
        store.save(conversation(f"id-{head}", match_key=f"key-{head}"), claim="filling")
    with ThreadPoolExecutor(THREADS) as threads:
        wins = list(threads.map(race, range(THREADS)))

    assert [sum(of_head) for of_head in zip(*wins, strict=True)] == [1] * HEADS


@pytest.mark.parametrize("by", ["id", "key"])
def test_of_several_processes_one_claims_the_head(
    shared_store: ConversationStore, store_url: str, tmp_path: Path, processes: ProcessPoolExecutor, by: str
) -> None:
    names = [f"{number}" for number in range(300)]
    for name in names:
        shared_store.save(conversation(name, match_key=name), claim="filling")

    claim_all = claim_each if by == "id" else claim_matches
    runs = [processes.submit(claim_all, store_url, tmp_path / "data", names) for _ in range(PROCESSES)]
    wins = Counter(name for run in runs for name in run.result(60))

    assert wins == Counter(names)


def test_several_claims_of_one_key_get_different_conversations(
    shared_store: ConversationStore, store_url: str, tmp_path: Path, processes: ProcessPoolExecutor
) -> None:
    for number in range(100):
        shared_store.save(conversation(f"id-{number}", updated_at=number), claim="filling")

    runs = [
        processes.submit(claim_matches, store_url, tmp_path / "data", ["key"] * 25) for _ in range(PROCESSES)
    ]
    claimed = [id for run in runs for id in run.result(60)]

    assert len(set(claimed)) == len(claimed)


def test_nine_processes_that_write_at_once_lose_no_turn(
    shared_store: ConversationStore, store_url: str, tmp_path: Path, processes: ProcessPoolExecutor
) -> None:
    shared = [f"shared-{number}" for number in range(3)]
    for id in shared:
        shared_store.save(conversation(id), claim="filling")

    runs = [
        processes.submit(take_turns, store_url, tmp_path / "data", shared, 100)
        for _ in range(GUNICORN_PROCESSES)
    ]
    saved = sum(run.result(120) for run in runs)

    assert saved == GUNICORN_PROCESSES * 100
    assert shared_store.statistics().turns == saved


def test_processes_that_start_at_once_share_a_new_store(
    store_url: str, tmp_path: Path, processes: ProcessPoolExecutor
) -> None:
    data = tmp_path / "data"
    runs = [processes.submit(take_turns, store_url, data, [f"{n}"], 0) for n in range(GUNICORN_PROCESSES)]
    claims = [processes.submit(claim_each, store_url, data, ["none"]) for _ in range(GUNICORN_PROCESSES)]

    assert [run.result(60) for run in runs] == [0] * GUNICORN_PROCESSES
    assert [claim.result(60) for claim in claims] == [[]] * GUNICORN_PROCESSES


def test_a_child_of_a_fork_and_its_parent_use_one_store(
    shared_store: ConversationStore, store_url: str, tmp_path: Path
) -> None:
    shared_store.save(conversation("before"), claim="filling")

    child = os.fork()
    if child == 0:
        is_saved = shared_store.find("before") is not None
        is_saved = is_saved and shared_store.save(conversation("child"), claim="filling")
        os._exit(0 if is_saved else 1)
    parent = shared_store.save(conversation("parent"), claim="filling")
    _, status = os.waitpid(child, 0)

    assert (status, parent) == (0, True)
    assert {row.id for row in shared_store.all()} == {"before", "child", "parent"}


def test_a_fork_in_the_middle_of_writing_blocks_nobody(tmp_path: Path) -> None:
    store = open_store(SQLITE_URL, tmp_path / "data")
    is_over = Event()
    written: list[bool] = []

    def write() -> None:
        while not is_over.is_set():
            written.append(store.save(conversation(f"id-{len(written)}"), claim="filling"))

    with ThreadPoolExecutor(1) as threads:
        writing = threads.submit(write)
        for _ in range(20):
            child = os.fork()
            if child == 0:
                signal.alarm(20)
                os._exit(0 if store.save(conversation(f"child-{os.getpid()}"), claim="filling") else 1)
            assert os.waitpid(child, 0)[1] == 0
        is_over.set()
        writing.result(20)

    assert all(written)
    assert store.statistics().conversations == len(written) + 20
    store.close()


def test_a_process_killed_while_it_writes_loses_nothing_it_saved(
    shared_store: ConversationStore, store_url: str, tmp_path: Path
) -> None:
    told = tmp_path / "told"
    told.touch()
    code = (
        "import sys; from pathlib import Path; from tests.stores.conversations import save_until_killed; "
        "save_until_killed(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))"
    )
    for _ in range(3):
        before = told.stat().st_size
        told.unlink()
        told.touch()
        shared_store.delete_beyond(0)
        process = subprocess.Popen([sys.executable, "-c", code, store_url, tmp_path / "data", told])
        while told.stat().st_size < 500 + before // 2:
            assert process.poll() is None
            Event().wait(0.005)
        process.kill()
        process.wait()

        saved = {row.id for row in shared_store.all()}
        lines = told.read_text().splitlines(keepends=True)
        assert {line.strip() for line in lines if line.endswith("\n")} <= saved

    file = tmp_path / "data" / "conversations.db"
    if file.exists():
        with closing(sqlite3.connect(file)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
