"""What Dify was given once is known to every process, for a while."""

import pytest

from opendify.attachments.upload_memory import UploadMemory, upload_key
from tests.fakes.clocks import FakeClock
from tests.fakes.memory_answers import MemoryAnswers
from tests.fakes.settings import make_settings

APP, OTHER = make_settings({"a": "app-a", "b": "app-b"}).models
KEY = upload_key(APP, "anna", "0a1b", "a.png", "image/png")


def two_processes(store: MemoryAnswers | None, now: FakeClock) -> tuple[UploadMemory, UploadMemory]:
    return UploadMemory(store, keep_seconds=60, now=now), UploadMemory(store, keep_seconds=60, now=now)


def test_what_one_process_uploaded_another_finds_until_it_expires() -> None:
    now = FakeClock()
    here, there = two_processes(MemoryAnswers(), now)
    here.remember(KEY, "anna", "upload-1")

    assert (here.find(KEY), there.find(KEY)) == ("upload-1", "upload-1")
    now.advance(60)
    assert (here.find(KEY), there.find(KEY)) == (None, None)


def test_what_dify_forgot_is_forgotten_and_may_be_remembered_anew() -> None:
    here, there = two_processes(MemoryAnswers(), FakeClock())
    here.remember(KEY, "anna", "upload-1")

    there.forget(KEY)
    assert there.find(KEY) is None
    there.remember(KEY, "anna", "upload-2")

    assert there.find(KEY) == "upload-2"


def test_it_goes_with_what_is_deleted_of_its_user() -> None:
    store = MemoryAnswers()
    here, there = two_processes(store, FakeClock())
    here.remember(KEY, "anna", "upload-1")

    assert store.delete_of_user("anna") == 1
    assert there.find(KEY) is None


@pytest.mark.parametrize(
    "store", [None, MemoryAnswers(is_down=True)], ids=["no store", "a store that is down"]
)
def test_without_a_store_each_process_knows_its_own(store: MemoryAnswers | None) -> None:
    here, there = two_processes(store, FakeClock())
    here.remember(KEY, "anna", "upload-1")

    assert (here.find(KEY), there.find(KEY)) == ("upload-1", None)
    here.forget(KEY)
    assert here.find(KEY) is None


def test_with_no_time_nothing_is_remembered() -> None:
    memory = UploadMemory(MemoryAnswers(), keep_seconds=0, now=FakeClock())
    memory.remember(KEY, "anna", "upload-1")

    assert memory.find(KEY) is None


def test_app_user_content_and_name_tell_uploads_apart() -> None:
    keys = {
        KEY,
        upload_key(OTHER, "anna", "0a1b", "a.png", "image/png"),
        upload_key(APP, "bob", "0a1b", "a.png", "image/png"),
        upload_key(APP, "anna", "0a1c", "a.png", "image/png"),
        upload_key(APP, "anna", "0a1b", "b.png", "image/png"),
        upload_key(APP, "anna0a", "1b", "a.png", "image/png"),
    }

    assert len(keys) == 6
    assert upload_key(APP, "anna", "0a1b", "a.png", "image/png") == KEY
