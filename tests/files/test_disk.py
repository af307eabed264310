"""What crashes and full disks leave of files on a disk."""

import os
import stat
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from opendify.files.base import FileQuery, FileStoreUnavailable, new_file_id
from opendify.files.disk import DiskFiles
from opendify.files.opening import folder_path, open_file_store
from tests.files.keeping import NOW, content_of, keep, new_file


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "files"


@pytest.fixture
def disk(folder: Path) -> Iterator[DiskFiles]:
    with closing(DiskFiles(folder)) as store:
        yield store


def contents(folder: Path) -> list[Path]:
    return sorted(path for path in (folder / "contents").rglob("*") if path.is_file())


def age(path: Path, seconds: float) -> None:
    os.utime(path, (NOW - seconds, NOW - seconds))


class TestLeftovers:
    def test_drafts_of_crashed_processes_are_swept(self, disk: DiskFiles, folder: Path) -> None:
        with disk.draft(10) as held:
            abandoned, young = (folder / "drafts" / name for name in ("abandoned", "young"))
            for path in (abandoned, young):
                path.write_bytes(b"half a fi")
            age(held.path, 9_000)
            age(abandoned, 3_700)
            age(young, 3_500)

            assert disk.clean_up(now=NOW) == 1
            assert set((folder / "drafts").iterdir()) == {held.path, young}

    def test_a_content_without_a_row_is_swept_when_it_is_old(self, disk: DiskFiles, folder: Path) -> None:
        kept = keep(disk, new_file())
        left = folder / "contents" / "aa" / f"{new_file_id(NOW)[:-2]}aa"
        left.parent.mkdir(exist_ok=True)
        left.write_bytes(b"a crash came before the row")
        for path in contents(folder):
            age(path, 3_700)

        assert disk.clean_up(now=NOW) == 1
        assert content_of(disk, kept) == b"content"
        assert not left.exists()

    def test_a_young_one_may_be_about_to_get_its_row(self, disk: DiskFiles, folder: Path) -> None:
        keep(disk, new_file())
        young = folder / "contents" / "aa" / new_file_id(NOW)
        young.parent.mkdir(exist_ok=True)
        young.touch()
        age(young, 10)

        assert disk.clean_up(now=NOW) == 0
        assert young.exists()

    def test_what_does_not_fit_leaves_nothing(self, disk: DiskFiles, folder: Path) -> None:
        with pytest.raises(Exception, match="0 of 3 bytes"):
            keep(disk, new_file(), b"four", most_total_bytes=3)

        assert contents(folder) == []
        assert list((folder / "drafts").iterdir()) == []


def test_nobody_else_on_the_machine_may_read_files(disk: DiskFiles, folder: Path) -> None:
    keep(disk, new_file())

    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.rglob("*") if path.is_file()} == {0o600}


def test_a_folder_that_cannot_be_written_is_an_outage(tmp_path: Path) -> None:
    (tmp_path / "files").write_text("not a folder")

    with closing(DiskFiles(tmp_path / "files")) as disk:
        with pytest.raises(FileStoreUnavailable):
            disk.draft(10)
        with pytest.raises(FileStoreUnavailable):
            disk.page(FileQuery(owner="alice"), now=NOW)


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("file:///data/files", "/srv/app/state/files"),
        ("file:///data/a%20b/c", "/srv/app/state/a b/c"),
        ("file:///elsewhere", "/srv/app/elsewhere"),
        ("file:////var/lib/files/", "/var/lib/files"),
    ],
)
def test_a_url_names_a_folder(url: str, path: str) -> None:
    assert folder_path(url, Path("/srv/app/state")) == Path(path)


@pytest.mark.parametrize(
    "url", ["", "files", "file://", "file:///", "file:///data", "file:///data/files?a=b", "ftp://h/secret"]
)
def test_a_url_that_names_no_store_is_refused_without_repeating_it(url: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"file:///|folder") as caught:
        open_file_store(url, tmp_path / "data")

    assert "secret" not in str(caught.value)
