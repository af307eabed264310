"""The stores that the suite of files runs over."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from opendify.files.base import FileStore
from opendify.files.opening import open_file_store

SHARED = ("disk",)


@pytest.fixture(params=SHARED)
def url(request: pytest.FixtureRequest) -> str:
    """A store that processes can share, empty."""
    return "file:///data/files"


@pytest.fixture
def store(url: str, tmp_path: Path) -> Iterator[FileStore]:
    with closing(open_file_store(url, tmp_path / "data")) as opened:
        yield opened


@pytest.fixture
def other_worker(url: str, tmp_path: Path) -> Iterator[FileStore]:
    """The same store, as another process has it."""
    with closing(open_file_store(url, tmp_path / "data")) as opened:
        yield opened
