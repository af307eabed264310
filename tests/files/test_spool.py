"""Files for the time of one request."""

import logging
import resource
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest

from opendify.errors import FileStorageUnavailable
from opendify.files.spool import Spool
from tests.conftest import Serve
from tests.fakes.openai_errors import assert_openai_error

MP3 = b"\xff\xfb\x90\x00" + bytes(3_000_000)


@contextmanager
def full_disk() -> Iterator[None]:
    """No file of this process grows beyond a megabyte meanwhile."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_it_gives_back_what_was_written() -> None:
    with closing(Spool(4)) as spool:
        for piece in (b"one ", b"two ", b"three"):
            spool.write(piece)
        spool.finish()
        spool.file.seek(0)

        assert spool.file.read() == b"one two three"


def test_a_full_disk_is_told_as_such(caplog: pytest.LogCaptureFixture) -> None:
    with (
        closing(Spool(4)) as spool,
        full_disk(),
        caplog.at_level(logging.ERROR),
        pytest.raises(FileStorageUnavailable, match="disk has no room"),
    ):
        spool.write(bytes(2 << 20))

    assert "cannot be written" in caplog.text


def test_a_recording_for_which_there_is_no_room_is_a_503(serve: Serve) -> None:
    client = serve()
    head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.mp3"\r\n\r\n'
    form = head + MP3 + b"\r\n--b--\r\n"
    with full_disk():
        answer = client.post(
            "/v1/audio/transcriptions", data=form, content_type="multipart/form-data; boundary=b"
        )

    assert_openai_error(answer, 503, "file_storage_unavailable")
    assert answer.headers["Retry-After"]
