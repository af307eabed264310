"""What can be known before a start without contacting anybody is told then."""

from pathlib import Path

import pytest

from opendify.serving.preflight import faults_of
from opendify.settings import load_server_settings, load_settings

TABLE = {"DIFY_API_BASE": "http://dify.test", "MODEL_CONFIG": '{"bot": "app-bot"}'}


def faults(folder: Path, **told: str) -> list[str]:
    environ = {**TABLE, "DATA_DIR": str(folder / "data"), **told}
    return faults_of(load_settings(environ), load_server_settings(environ))


@pytest.mark.parametrize("worker_class", ["sync", "gthread", "gevent"])
def test_a_good_configuration_has_no_fault_and_leaves_nothing(tmp_path: Path, worker_class: str) -> None:
    assert faults(tmp_path, GUNICORN_WORKER_CLASS=worker_class) == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("place", ["file", "file/below"])
def test_data_need_a_folder(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").touch()

    assert faults(tmp_path, DATA_DIR=str(tmp_path / place)) == [f"DATA_DIR: {tmp_path / 'file'} is no folder"]


@pytest.mark.parametrize("url", ["redis://host", "postgresql://host/name"])
def test_a_store_of_several_machines_needs_keys(tmp_path: Path, url: str) -> None:
    told = {"CONVERSATION_STORE_URL": url}

    assert faults(tmp_path, **told, KEY_STORE="off") == [
        "API_KEYS must be set where several machines share a conversation store"
    ]
    assert faults(tmp_path, **told, KEY_STORE="off", API_KEYS="sk-one") == []
    assert faults(tmp_path, **told) == [], "the store may have some"


def test_a_store_s_address_is_read(tmp_path: Path) -> None:
    (fault,) = faults(tmp_path, CONVERSATION_STORE_URL="sqlite:///data/", ANSWER_STORE="off")

    assert fault.startswith("CONVERSATION_STORE_URL: a SQLite URL is sqlite:///data/NAME.db")


def test_the_address_of_the_answers_is_read_too(tmp_path: Path) -> None:
    (fault,) = faults(tmp_path, ANSWER_STORE="sqlite:///data/")

    assert fault.startswith("ANSWER_STORE: a SQLite URL is")


@pytest.mark.parametrize(
    "shared",
    [
        {"CONVERSATION_STORE_URL": "redis://host", "API_KEYS": "sk-one"},
        {"CONVERSATION_STORE_URL": "postgresql://host/name", "API_KEYS": "sk-one"},
        {"ANSWER_STORE": "redis://host"},
        {"FILE_STORE_URL": "s3://files"},
    ],
    ids=["redis", "postgresql", "answers", "s3"],
)
def test_links_of_several_machines_need_one_key(tmp_path: Path, shared: dict[str, str]) -> None:
    told = {"FILES_PROXY": "true", "PUBLIC_URL": "https://ai.example.com", **shared}

    assert faults(tmp_path, **told) == [
        "SECRET_KEY must be set where FILES_PROXY signs links and several machines share a store"
    ]
    assert faults(tmp_path, **told, SECRET_KEY="k" * 32) == []
    assert faults(tmp_path, **{**told, "FILES_PROXY": "false"}) == []


def test_links_of_one_machine_need_none(tmp_path: Path) -> None:
    assert faults(tmp_path, FILES_PROXY="true", PUBLIC_URL="https://ai.example.com") == []


def test_the_address_of_the_files_is_read(tmp_path: Path) -> None:
    (fault,) = faults(tmp_path, FILE_STORE_URL="s3://files?secret=1")

    assert fault.startswith("FILE_STORE_URL: an object storage's URL is s3://BUCKET")
