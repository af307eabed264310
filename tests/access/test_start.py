"""What the master says of the keys when it starts."""

import os
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from werkzeug.datastructures import Headers

from opendify.access.opening import open_access
from opendify.stores.keys_sqlite import SQLiteKeys
from tests.fakes.memory_keys import made_key
from tests.fakes.settings import make_settings

PROJECT = Path(__file__).parents[2]


def _announce(**environ: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if name in {"PATH", "HOME"}}
    table = {"MODEL_CONFIG": '{"bot": "app-bot"}', "DIFY_API_BASE": "http://dify.test/v1"}
    program = "from opendify.serving.start import prepare_start; prepare_start()"
    return subprocess.run(
        [sys.executable, "-c", program],
        env={**kept, **table, **environ},
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_start_without_keys_makes_one_and_prints_where_and_not_what(tmp_path: Path) -> None:
    done = _announce(AUTH_MODE="keys", ENVIRONMENT="production", DATA_DIR=str(tmp_path))

    file = tmp_path / "api-key"
    assert done.returncode == 0
    assert str(file) in done.stderr
    assert file.read_text().strip() not in done.stderr + done.stdout
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_start_with_keys_makes_none(tmp_path: Path) -> None:
    done = _announce(AUTH_MODE="keys", API_KEYS="sk-anna-0123456789", DATA_DIR=str(tmp_path))

    assert done.returncode == 0
    assert not list(tmp_path.glob("*key*"))


def _store_key(data_dir: Path) -> str:
    with closing(SQLiteKeys(data_dir / "keys.db")) as store:
        text, key = made_key()
        assert store.add(key)
        return text


def test_a_start_where_keys_are_stored_makes_none(tmp_path: Path) -> None:
    _store_key(tmp_path)

    done = _announce(AUTH_MODE="keys", ENVIRONMENT="production", DATA_DIR=str(tmp_path))

    assert (done.returncode, done.stderr) == (0, "")
    assert not list(tmp_path.glob("*-key"))


def test_the_keys_of_the_first_start_stay_good_beside_stored_ones(tmp_path: Path) -> None:
    _announce(AUTH_MODE="keys", DATA_DIR=str(tmp_path))
    stored = _store_key(tmp_path)
    first = (tmp_path / "api-key").read_text().strip()

    done = _announce(AUTH_MODE="keys", DATA_DIR=str(tmp_path))

    assert str(tmp_path / "admin-key") in done.stderr
    access = open_access(make_settings(AUTH_MODE="keys", DATA_DIR=str(tmp_path)))
    with closing(access):
        assert access.keys.authenticate(Headers({"api-key": first})).id == "#first-key"
        assert access.keys.authenticate(Headers({"api-key": stored})).id == "caller-0123456789ab"


def test_a_worker_makes_no_first_keys_where_keys_are_stored(tmp_path: Path) -> None:
    stored = _store_key(tmp_path)

    with closing(open_access(make_settings(AUTH_MODE="keys", DATA_DIR=str(tmp_path)))) as access:
        assert access.keys.authenticate(Headers({"api-key": stored})).id == "caller-0123456789ab"

    assert not list(tmp_path.glob("*-key"))


def test_an_open_service_says_that_it_is_open(tmp_path: Path) -> None:
    done = _announce(AUTH_MODE="open", DATA_DIR=str(tmp_path))

    assert done.returncode == 0
    assert "Any key" in done.stderr
    assert not list(tmp_path.glob("*key*"))


def test_a_folder_that_cannot_be_written_ends_the_start_with_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    done = _announce(AUTH_MODE="keys", ENVIRONMENT="production", DATA_DIR=str(tmp_path / "file"))

    assert done.returncode != 0
    assert done.stderr.startswith("DATA_DIR")
    assert len(done.stderr.strip().splitlines()) == 1


def test_machines_that_share_a_store_must_be_given_their_keys(tmp_path: Path) -> None:
    shared = {"CONVERSATION_STORE_URL": "redis://127.0.0.1:9/0", "DATA_DIR": str(tmp_path)}
    done = _announce(AUTH_MODE="keys", **shared, KEY_STORE="off")

    assert done.returncode != 0
    assert "API_KEYS" in done.stderr
    assert not list(tmp_path.iterdir())


def test_a_store_that_is_down_is_no_reason_not_to_start(tmp_path: Path) -> None:
    done = _announce(
        API_KEYS="sk-anna-0123456789",
        CONVERSATION_STORE_URL="redis://127.0.0.1:9/0",
        DATA_DIR=str(tmp_path),
    )

    assert done.returncode == 0
    assert "does not answer" in done.stderr


def test_a_store_of_a_later_release_is_refused(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "conversations.db") as connection:
        connection.execute("PRAGMA user_version = 999")
    connection.close()

    done = _announce(API_KEYS="sk-anna-0123456789", DATA_DIR=str(tmp_path))

    assert done.returncode != 0
    assert "CONVERSATION_STORE_URL" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("name", "value"),
    [("AUTH_MODE", "sometimes"), ("ANSWER_STORE", "on"), ("ANSWER_STORE", "redis://host:secret-port")],
)
def test_a_wrong_setting_ends_the_start_with_its_name(name: str, value: str, tmp_path: Path) -> None:
    done = _announce(**{"API_KEYS": "sk-anna-0123456789", name: value, "DATA_DIR": str(tmp_path)})

    assert done.returncode != 0
    assert name in done.stderr
    assert "secret" not in done.stderr
    assert "Traceback" not in done.stderr


def test_logging_is_quiet_about_addresses_and_shows_values_beside_messages() -> None:
    program = (
        "import logging; from opendify.telemetry.logs import configure_logging; configure_logging('debug')\n"
        "logging.getLogger('opendify.x').info('reply ended', extra={'seconds': 0.25, 'note': 'a b'})\n"
        "for name in ('httpx', 'httpcore', 'httpcore.http11'):\n"
        "    logging.getLogger(name).info('POST http://dify.test/v1?sign=secret')\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", program], cwd=PROJECT, capture_output=True, text=True, check=True
    )

    assert done.stderr.rstrip().endswith("INFO - reply ended seconds=0.2500 note='a b'")
    assert "secret" not in done.stderr
    assert done.stdout == ""


def test_a_store_that_may_have_keys_is_waited_for(tmp_path: Path) -> None:
    done = _announce(AUTH_MODE="keys", CONVERSATION_STORE_URL="redis://127.0.0.1:9/0", DATA_DIR=str(tmp_path))

    assert done.returncode == 0
    assert "The store of keys does not answer" in done.stderr
    assert not (tmp_path / "api-key").exists()


def test_links_that_other_machines_could_not_read_end_the_start_with_one_line(tmp_path: Path) -> None:
    told = {"FILES_PROXY": "true", "PUBLIC_URL": "https://ai.example.com", "FILE_STORE_URL": "s3://files"}

    refused = _announce(AUTH_MODE="open", DATA_DIR=str(tmp_path), **told)
    started = _announce(AUTH_MODE="open", DATA_DIR=str(tmp_path), **told, SECRET_KEY="k" * 32)

    assert refused.returncode != 0
    assert refused.stderr == (
        "SECRET_KEY must be set where FILES_PROXY signs links and several machines share a store\n"
    )
    assert started.returncode == 0
