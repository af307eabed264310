"""Files as the official `openai` package uploads, lists, reads and deletes them."""

import io
from pathlib import Path

import openai
import pytest

from tests.sdk.stand import API_KEY, Stand


def test_a_file_from_disk_lives_and_dies(client: openai.OpenAI, tmp_path: Path) -> None:
    path = tmp_path / 'räport "1".pdf'
    path.write_bytes(b"%PDF-1.7 \x00\xff")

    file = client.files.create(file=path, purpose="assistants")

    assert (file.object, file.bytes, file.purpose, file.status) == ("file", 11, "assistants", "processed")
    assert file.filename.startswith("räport")
    assert client.files.retrieve(file.id) == file
    assert client.files.content(file.id).read() == b"%PDF-1.7 \x00\xff"
    assert client.files.delete(file.id).deleted
    with pytest.raises(openai.NotFoundError, match=f"No such File object: {file.id}"):
        client.files.retrieve(file.id)


def test_the_sdk_pages_by_itself(client: openai.OpenAI) -> None:
    kept = [client.files.create(file=(f"{n}.txt", io.BytesIO(b"x")), purpose="batch").id for n in range(5)]

    assert [file.id for file in client.files.list(limit=2, order="asc", purpose="batch")] == kept
    assert [file.id for file in client.files.list(limit=2, purpose="batch")] == kept[::-1]


def test_a_file_can_be_told_when_to_go(client: openai.OpenAI) -> None:
    file = client.files.create(
        file=b"bytes without a name",
        purpose="user_data",
        expires_after={"anchor": "created_at", "seconds": 3600},
    )

    assert file.expires_at == file.created_at + 3600


def test_azures_client_finds_them_too(stand: Stand) -> None:
    with openai.AzureOpenAI(azure_endpoint=stand.origin, api_key=API_KEY, api_version="2026-01-01") as azure:
        file = azure.files.create(file=("a.txt", b"azure"), purpose="assistants")
        assert azure.files.content(file.id).read() == b"azure"
        assert azure.files.delete(file.id).deleted
