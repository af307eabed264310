"""With no key configured, the first use makes one, and only its owner can read it."""

import multiprocessing
import os
import stat
from pathlib import Path

import pytest
from werkzeug.datastructures import Headers

from opendify.access.keys import KeyRing, ensure_secret
from opendify.errors import Unauthorized
from tests.conftest import Serve
from tests.fakes.settings import make_settings

PROCESSES = 8


def _make(
    path: Path, starts: "multiprocessing.synchronize.Barrier", secrets: "multiprocessing.Queue[str]"
) -> None:
    starts.wait(20)
    secrets.put(ensure_secret(path))


@pytest.mark.parametrize("round_", range(2))
def test_eight_processes_at_once_make_one_key(tmp_path: Path, round_: int) -> None:
    spawn = multiprocessing.get_context("fork")
    starts, made = spawn.Barrier(PROCESSES), spawn.Queue()
    path = tmp_path / "new" / "folder" / "api-key"
    workers = [spawn.Process(target=_make, args=(path, starts, made)) for _ in range(PROCESSES)]
    for worker in workers:
        worker.start()
    secrets = {made.get(timeout=20) for _ in workers}
    for worker in workers:
        worker.join(20)

    (secret,) = secrets
    assert secret.startswith("sk-")
    assert len(secret) > 32
    assert path.read_text().strip() == secret
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(path.parent.iterdir()) == [path]


def test_a_key_is_kept_over_restarts(tmp_path: Path) -> None:
    first = ensure_secret(tmp_path / "api-key")

    assert ensure_secret(tmp_path / "api-key") == first


def test_a_file_left_empty_by_a_crash_locks_nobody_out(tmp_path: Path) -> None:
    path = tmp_path / "api-key"
    path.touch(0o600)

    assert ensure_secret(path).startswith("sk-")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_secret_is_private_whatever_the_umask(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        ensure_secret(tmp_path / "api-key")
    finally:
        os.umask(old)

    assert stat.S_IMODE((tmp_path / "api-key").stat().st_mode) == 0o600


def test_a_service_without_keys_is_closed_and_opens_with_the_first_key(serve: Serve, tmp_path: Path) -> None:
    client = serve(AUTH_MODE="keys", DATA_DIR=str(tmp_path))
    assert list(tmp_path.iterdir()) == [], "making the app opens no file"
    assert client.get("/v1/models").get_json()["data"] == []
    assert client.get("/v1/models", headers={"api-key": "guess"}).status_code == 401

    key = (tmp_path / "api-key").read_text().strip()

    assert client.get("/v1/models", headers={"api-key": key}).get_json()["data"]


def test_two_workers_accept_the_same_first_key(tmp_path: Path) -> None:
    settings = make_settings(AUTH_MODE="keys", DATA_DIR=str(tmp_path))
    workers = [KeyRing(settings) for _ in range(2)]
    for worker in workers:
        with pytest.raises(Unauthorized):
            worker.authenticate(Headers({"api-key": "guess"}))
    key = Headers({"api-key": (tmp_path / "api-key").read_text().strip()})

    assert len({worker.authenticate(key) for worker in workers}) == 1


@pytest.mark.parametrize(
    "environ", [{"AUTH_MODE": "open"}, {"AUTH_MODE": "keys", "API_KEYS": "sk-anna-0123456789"}]
)
def test_no_file_is_made_where_none_is_needed(tmp_path: Path, environ: dict[str, str]) -> None:
    keys = KeyRing(make_settings(**environ, DATA_DIR=str(tmp_path)))
    keys.authenticate(Headers({"api-key": "sk-anna-0123456789"}))

    assert not keys.first_key_files()
    assert list(tmp_path.iterdir()) == []
