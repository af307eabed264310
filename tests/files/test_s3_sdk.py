"""Files that the official `openai` package hands to one machine, and reads from another."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import openai
import pytest

from opendify.app import create_app
from tests.fakes.served_app import served
from tests.fakes.settings import make_settings
from tests.files.s3_server import CREDENTIALS, S3Server

KEY = "sk-the-key-of-alice"


@contextmanager
def machine(url: str, data_dir: Path) -> Iterator[openai.OpenAI]:
    """A client of a service with a disk of its own."""
    settings = make_settings(
        AUTH_MODE="keys",
        API_KEYS=f"alice:{KEY},bob:sk-the-key-of-bob",
        FILE_STORE_URL=url,
        FILE_STORE_ACCESS_KEY=CREDENTIALS.access_key,
        FILE_STORE_SECRET_KEY=CREDENTIALS.secret_key,
        DATA_DIR=str(data_dir),
    )
    with (
        served(create_app(settings)) as origin,
        openai.OpenAI(base_url=f"{origin}/v1", api_key=KEY, max_retries=0) as client,
    ):
        yield client


def test_several_machines_share_files(s3: S3Server, tmp_path: Path) -> None:
    url = s3.new_url()
    content = bytes(range(256)) * 4096 * 20
    with machine(url, tmp_path / "one") as one, machine(url, tmp_path / "two") as two:
        file = one.files.create(file=("räport.pdf", content), purpose="user_data")

        assert (file.bytes, file.filename) == (20 * 1024**2, "räport.pdf")
        assert two.files.retrieve(file.id) == file
        assert two.files.content(file.id).read() == content
        assert [each.id for each in two.files.list()] == [file.id]
        with pytest.raises(openai.NotFoundError):
            two.with_options(api_key="sk-the-key-of-bob").files.content(file.id)
        assert two.files.delete(file.id).deleted
        with pytest.raises(openai.NotFoundError):
            one.files.retrieve(file.id)
    assert list(tmp_path.rglob("*file-drafts/*")) == []


def test_while_the_storage_is_away_files_are_unavailable(tmp_path: Path) -> None:
    with machine("s3://bucket?endpoint=http://127.0.0.1:1", tmp_path) as client:
        with pytest.raises(openai.InternalServerError) as caught:
            client.files.create(file=("a.txt", b"a"), purpose="user_data")

        assert (caught.value.status_code, caught.value.code) == (503, "file_storage_unavailable")
        assert client.models.list().data
