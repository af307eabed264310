"""The operator's rules for callers' files."""

import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from opendify.errors import (
    FileNotStored,
    FileStorageFull,
    FileStorageUnavailable,
    GatewayError,
    RequestTooLarge,
)
from opendify.files.base import FileQuery, StoredFile
from opendify.files.disk import DiskFiles
from opendify.files.keeper import FileFacts, FileKeeper, file_failures_mapped
from opendify.records import Caller
from opendify.settings.files import FileSettings
from tests.fakes.waiting import wait_until
from tests.files.keeping import NOW, content_of, keep, new_file

ALICE, BOB = Caller("alice"), Caller("bob")
DAY = 86_400


class Stand:
    """A keeper, its store, and the time."""

    def __init__(self, folder: Path, settings: FileSettings) -> None:
        self.now = float(NOW)
        self.store = DiskFiles(folder)
        self.keeper = FileKeeper(self.store, settings, now=lambda: self.now)

    def keep(self, content: bytes = b"content", **facts: object) -> StoredFile:
        with file_failures_mapped(), self.keeper.draft() as draft:
            draft.write(content)
            known = {"filename": "a.txt", "purpose": "user_data", **facts}
            return self.keeper.keep(draft, ALICE, FileFacts(**known))  # type: ignore[arg-type] # Each test's own.


@pytest.fixture
def stand(tmp_path: Path) -> Iterator[Stand]:
    settings = FileSettings(max_bytes=20, max_total_bytes=50, ttl_days=30)
    made = Stand(tmp_path / "files", settings)
    yield made
    made.keeper.close()


def test_a_caller_gets_back_what_was_kept(stand: Stand) -> None:
    kept = stand.keep(b"hello", filename="../a.txt", mime_type="text/plain")

    assert stand.keeper.get(kept.id, ALICE) == kept
    assert (kept.owner, kept.filename, kept.bytes, kept.mime_type) == ("alice", "a.txt", 5, "text/plain")
    assert content_of(stand.store, kept) == b"hello"


def test_another_caller_is_told_that_there_is_none(stand: Stand) -> None:
    kept = stand.keep()

    with pytest.raises(FileNotStored, match=f"No such File object: {kept.id}") as caught:
        stand.keeper.get(kept.id, BOB)
    assert caught.value.param == "id"
    with pytest.raises(FileNotStored):
        stand.keeper.delete(kept.id, BOB)
    assert stand.keeper.get(kept.id, ALICE) == kept


def test_a_deleted_file_is_gone(stand: Stand) -> None:
    kept = stand.keep()
    stand.keeper.delete(kept.id, ALICE)

    for use in (stand.keeper.get, stand.keeper.delete):
        with pytest.raises(FileNotStored):
            use(kept.id, ALICE)
    with pytest.raises(FileNotStored):
        stand.keeper.open(kept)


@pytest.mark.parametrize(
    ("ttl_days", "wanted_seconds", "expires_at"),
    [
        (30.0, None, NOW + 30 * DAY),
        (30.0, 3_600, NOW + 3_600),
        (1.0, 2 * DAY, NOW + DAY),
        (0.0, 3_600, NOW + 3_600),
        (0.0, None, None),
    ],
)
def test_a_file_expires_when_either_side_wants_it(
    tmp_path: Path, ttl_days: float, wanted_seconds: float | None, expires_at: int | None
) -> None:
    stand = Stand(tmp_path / "files", FileSettings(ttl_days=ttl_days))

    assert stand.keep(expires_after_seconds=wanted_seconds).expires_at == expires_at
    stand.keeper.close()


def test_too_large_a_file_is_refused_with_the_limit(stand: Stand) -> None:
    with pytest.raises(RequestTooLarge, match="20 bytes") as caught:
        stand.keep(b"x" * 21)

    assert caught.value.param == "file"


def test_where_there_is_no_room_it_says_so(stand: Stand) -> None:
    for _ in range(2):
        stand.keep(b"x" * 20)

    with pytest.raises(FileStorageFull):
        stand.keep(b"x" * 20)


def test_a_store_that_is_away_is_a_failure_to_repeat(tmp_path: Path) -> None:
    (tmp_path / "files").write_text("in the way")
    stand = Stand(tmp_path / "files", FileSettings())

    for attempt in (stand.keep, lambda: stand.keeper.page(FileQuery(owner="alice"))):
        with pytest.raises(FileStorageUnavailable) as caught:
            attempt()
        assert isinstance(caught.value, GatewayError)
        assert str(tmp_path) not in caught.value.message
    stand.keeper.clean_up()


def test_cleaning_up_deletes_what_expired(stand: Stand) -> None:
    kept = stand.keep()
    stand.now += 31 * DAY
    stand.keeper.clean_up()

    assert stand.store.open(kept) is None


def contents(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob("file-*")]


def test_what_expired_is_deleted_where_nobody_asks_for_anything(tmp_path: Path) -> None:
    store = DiskFiles(tmp_path / "files")
    expired = keep(store, new_file(expires_at=NOW + 10))
    with closing(FileKeeper(store, FileSettings(), now=lambda: NOW + 10, interval_seconds=0.01)) as keeper:
        assert contents(tmp_path) == [expired.id]
        keeper.clean_up_regularly()

        assert wait_until(lambda: contents(tmp_path) == [], seconds=20)


def test_a_closed_keeper_cleans_up_no_more(tmp_path: Path) -> None:
    before = set(threading.enumerate())
    keeper = FileKeeper(DiskFiles(tmp_path / "files"), FileSettings(), interval_seconds=600)
    keeper.clean_up_regularly()
    (housekeeper,) = set(threading.enumerate()) - before

    keeper.close()

    assert wait_until(lambda: not housekeeper.is_alive(), seconds=20)
