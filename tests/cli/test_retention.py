"""Of many backups one is kept for each hour of a day, and one for each day of a month."""

import zipfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

from opendify.conversation_admin.retention import backup_name, outlived
from tests.cli.conftest import Operation

NOW = datetime(2026, 3, 31, 12, 30, tzinfo=UTC)


def names(*ages: timedelta) -> list[str]:
    return [backup_name(NOW - age) for age in ages]


def kept(made: list[str], *, hourly: int = 24, daily: int = 30) -> list[str]:
    gone = outlived(made, NOW, hourly=hourly, daily=daily)
    return sorted(set(made) - set(gone))


def test_a_name_tells_the_time_in_utc() -> None:
    assert backup_name(datetime.fromisoformat("2026-03-31T14:30:00+02:00")) == "opendify-20260331T123000Z.zip"


def test_hourly_backups_of_a_year_leave_a_day_of_hours_and_a_month_of_days() -> None:
    made = names(*(timedelta(hours=hours) for hours in range(365 * 24)))

    left = kept(made)

    assert len([name for name in left if name > backup_name(NOW - timedelta(hours=24))]) == 24
    # Yesterday's last hours are among the day's hours already.
    assert len({name[9:17] for name in left}) == 30 + 1
    assert len(left) == 24 + 29


def test_of_one_hour_the_newest_stays() -> None:
    made = names(timedelta(minutes=20), timedelta(minutes=5), timedelta(minutes=1))

    assert kept(made, daily=0) == [backup_name(NOW - timedelta(minutes=1))]


def test_the_newest_stays_however_old_it_is() -> None:
    made = names(timedelta(days=400), timedelta(days=300))

    assert kept(made) == [backup_name(NOW - timedelta(days=300))]


def test_other_files_are_left_alone() -> None:
    assert outlived(["notes.txt", "opendify-2026.zip"], NOW, hourly=0, daily=0) == []


def test_a_backup_into_a_folder_gets_a_name_and_older_ones_go(operation: Operation, tmp_path: Path) -> None:
    operation.add("a")
    folder = tmp_path / "backups"
    folder.mkdir()
    old = folder / backup_name(datetime(2020, 1, 1, tzinfo=UTC))
    old.touch()

    said = operation.said("backup", folder)

    (made,) = folder.iterdir()
    assert zipfile.is_zipfile(made)
    assert said.startswith(f"{made}: 1 conversation, 0 keys, sha256 ")
    assert said.endswith("1 older backup removed\n")


def test_a_backup_that_fails_removes_nothing(operation: Operation, tmp_path: Path) -> None:
    folder = tmp_path / "backups"
    folder.mkdir()
    old = folder / backup_name(datetime(2020, 1, 1, tzinfo=UTC))
    old.touch()
    operation.add("a")
    operation.store.close()
    operation.database.write_bytes(b"not a database" * 100)

    operation.refused("backup", folder)

    assert [each.name for each in folder.iterdir()] == [old.name]


def test_backups_are_verified_without_being_restored(operation: Operation, tmp_path: Path) -> None:
    operation.add("a", "b")
    operation.said("backup", tmp_path / "good.zip")
    damaged = bytearray((tmp_path / "good.zip").read_bytes())
    damaged[len(damaged) // 2] ^= 0xFF
    (tmp_path / "bad.zip").write_bytes(damaged)

    assert "2 conversations" in operation.said("verify-backup", tmp_path / "good.zip")
    assert "bad.zip" in operation.refused("verify-backup", tmp_path / "good.zip", tmp_path / "bad.zip")
