"""The audit log's files: many writers, crashes, rotation, a disk that is full."""

import fcntl
import logging
import multiprocessing
import os
import signal
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from opendify.audit.log import AuditLog
from opendify.audit.reading import Snapshot
from tests.fakes.clocks import FakeClock
from tests.fakes.metrics_page import Counted
from tests.fakes.waiting import wait_until

NOW = 1_700_000_000.0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data/audit.log"


def opened(path: Path, **options: int) -> AuditLog:
    return AuditLog(path, now=lambda: NOW, **options)


def faults(path: Path) -> list[str]:
    _, findings = opened(path).verify()
    return [f"{finding.place}: {finding.text}" for finding in findings if finding.is_fault]


def test_an_event_is_a_line_that_only_its_owner_reads(path: Path) -> None:
    log = opened(path)
    log.note("key action", action="create", key="k1", nothing=None, odd="\u2028\udc80" + "x" * 1_000)
    log.note("key action", action="revoke", key="k1")

    first, second = path.read_text().splitlines()
    assert first.startswith('{"number":1,"at":"2023-11-14T22:13:20.000+00:00","event":"key action"')
    assert len(first) < 1_000
    assert '"number":2' in second
    assert faults(path) == []
    assert {stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()} == {0o600}


def test_an_event_stands_in_the_ordinary_log_too(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "opendify.audit"):
        opened(path).note("admin action", action="clean up")

    (record,) = caplog.records
    assert record.message == "admin action"
    assert vars(record)["action"] == "clean up"


def _write(path: Path, count: int) -> None:
    log = AuditLog(path, max_bytes=20_000)
    for number in range(count):
        log.note("key action", key=f"{os.getpid()}-{number}")


@contextmanager
def writers(path: Path, count: int, each: int) -> Iterator[list[multiprocessing.process.BaseProcess]]:
    fork = multiprocessing.get_context("fork")
    processes: list[multiprocessing.process.BaseProcess] = [
        fork.Process(target=_write, args=(path, each)) for _ in range(count)
    ]
    for process in processes:
        process.start()
    yield processes
    for process in processes:
        process.join(60)


def test_processes_that_write_at_once_lose_nothing_over_many_files(path: Path) -> None:
    with writers(path, 4, 100):
        pass

    head, findings = opened(path).verify()

    assert head.number == 400
    assert list(findings) == []
    assert len(list(path.parent.glob("audit.log.0*"))) > 2


def test_a_writer_that_is_killed_breaks_nothing(path: Path) -> None:
    with writers(path, 3, 100_000) as processes:
        assert wait_until(lambda: path.exists() and path.stat().st_size > 5_000, 30)
        for process in processes:
            assert process.pid
            os.kill(process.pid, signal.SIGKILL)
    opened(path).note("key action", key="after")

    assert faults(path) == []


@pytest.mark.parametrize("kept", [0, 1, 40, -1])
def test_a_line_that_a_crash_left_unfinished_is_no_fault(path: Path, kept: int) -> None:
    log = opened(path)
    log.note("key action", key="k1")
    whole = path.read_text()
    path.write_text(whole + whole.replace('"number":1', '"number":2')[:kept])
    log.note("key action", key="k2")

    assert faults(path) == []
    assert path.read_text().endswith("\n")


def test_a_whole_line_that_lacks_but_its_end_counts(path: Path) -> None:
    log = opened(path)
    log.note("key action", key="k1")
    path.write_text(path.read_text().removesuffix("\n"))
    log.note("key action", key="k2")

    assert faults(path) == []
    assert len(path.read_text().splitlines()) == 2


def test_a_log_that_was_moved_away_goes_on_in_a_new_file(path: Path) -> None:
    log = opened(path)
    log.note("key action", key="k1")
    path.rename(path.with_name("audit.log.1"))
    log.note("key action", key="k2")

    assert '"number":2' in path.read_text()
    assert faults(path) == []


def test_what_was_cut_off_at_the_end_is_missed(path: Path) -> None:
    log = opened(path)
    for number in range(4):
        log.note("key action", key=f"k{number}")
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:2]))

    assert faults(path) == ["the end: entries 3 to 4 were removed"]
    log.note("key action", key="after")
    assert faults(path) == ["audit.log:3: entries 3 to 4 were missing before this line"]


def test_a_log_that_was_deleted_is_missed(path: Path) -> None:
    log = opened(path)
    log.note("key action", key="k1")
    path.unlink()

    assert faults(path) == ["the end: entry 1 was removed"]


def test_a_folder_that_cannot_be_written_stops_nobody(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    log = AuditLog(tmp_path / "file/audit.log")

    failures = Counted("opendify_store_errors_total", store="audit_log")

    log.note("key action", key="k1")

    assert (log.failures, failures.more) == (1, 1)
    assert "the audit log cannot be written" in caplog.text


def test_a_lock_that_nobody_lets_go_of_stops_nobody(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    log = AuditLog(path, now=lambda: NOW, lock_seconds=0.05)
    log.note("key action", key="k1")
    with path.with_name("audit.log.lock").open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        log.note("key action", key="k2")
        log.note("key action", key="k3")

    assert log.failures == 2
    assert caplog.text.count("the audit log cannot be written") == 1, "the second did not wait for it again"
    assert faults(path) == []


def test_a_log_is_checked_as_it_was_when_the_check_began(path: Path) -> None:
    log = opened(path)
    log.note("key action", key="k1")
    with Snapshot(path) as snapshot:
        with path.open("a") as unfinished:
            unfinished.write('{"number":2,"at"')
        path.rename(path.with_name("audit.log.moved"))
        path.write_text("something else")

        (only,) = snapshot.lines()

    assert only[0] == "audit.log:1"
    assert '"key":"k1"' in only[1]


def test_strangers_cannot_fill_the_disk(path: Path) -> None:
    now = FakeClock(NOW)
    log = AuditLog(path, now=now)
    for _ in range(1_000):
        log.note_refusal("access refused", reason="wrong key")
    now.advance(60)
    log.note_refusal("access refused", reason="wrong key")

    lines = path.read_text().splitlines()
    assert len(lines) == 302
    assert '"event":"refusals left out","count":700' in lines[300]
