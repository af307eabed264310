"""The stores that the suite of files runs over."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from opendify.files.base import FileStore
from opendify.files.opening import open_file_store
from tests.files.s3_server import CREDENTIALS, S3Server, s3_server

SHARED = ("disk", "s3")


@pytest.fixture(scope="session")
def s3() -> Iterator[S3Server]:
    """Started for whoever asks first."""
    with s3_server() as server:
        yield server


@pytest.fixture(params=SHARED)
def url(request: pytest.FixtureRequest) -> str:
    """A store that processes can share, empty."""
    if request.param == "s3":
        server: S3Server = request.getfixturevalue("s3")
        return server.new_url()
    return "file:///data/files"


@pytest.fixture
def store(url: str, tmp_path: Path) -> Iterator[FileStore]:
    with closing(open_file_store(url, tmp_path / "data", credentials=CREDENTIALS)) as opened:
        yield opened


@pytest.fixture
def other_worker(url: str, tmp_path: Path) -> Iterator[FileStore]:
    """The same store, as another process has it."""
    with closing(open_file_store(url, tmp_path / "data", credentials=CREDENTIALS)) as opened:
        yield opened
