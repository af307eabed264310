"""Keys and limits on the real server: many workers, stores that are killed, workers that are killed."""

import json
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import replace

import httpx
import pytest

from opendify.access.key_format import new_key
from opendify.stores.keys import KeyStore
from opendify.stores.opening import open_key_store
from tests.fakes.live_dify import LiveDify, live_dify, whole
from tests.fakes.memory_keys import made_key
from tests.fakes.metrics_page import total
from tests.fakes.waiting import wait_until
from tests.resilience.crowds import PatientDify
from tests.resilience.server import CHAT_PATH, RunningServer, chat_shape, running_server
from tests.stores.servers import Server, postgres_server, redis_server

WORKERS = 4
# One for all: to make one takes longer than an answer.
CLIENT = httpx.Client(timeout=60)
SQLITE = "sqlite:///data/keys.db"
METRICS_KEY = "sk-metrics-0123456789"


@contextmanager
def closed_server(dify: LiveDify, store_url: str, **told: str) -> Iterator[tuple[RunningServer, KeyStore]]:
    """A server that asks for keys, and the store that it looks them up in."""
    environ = {"AUTH_MODE": "keys", "API_KEYS": "env:sk-of-the-environment", "GUNICORN_WORKERS": str(WORKERS)}
    if not store_url.startswith("sqlite"):
        environ["CONVERSATION_STORE_URL"] = store_url
    with (
        running_server(dify, **{**environ, "GUNICORN_THREADS": "32", **told}) as server,
        closing(open_key_store(store_url, server.data_dir)) as store,
    ):
        yield server, store


def ask(server: RunningServer, key: str) -> httpx.Response:
    body = chat_shape(streams=False)
    return CLIENT.post(f"{server.origin}{CHAT_PATH}", json=body, headers=bearer(key))


def models(server: RunningServer, key: str) -> int:
    return CLIENT.get(f"{server.origin}/v1/models/bot", headers=bearer(key)).status_code


def bearer(key: str) -> Mapping[str, str]:
    """Without the connection the next request may meet another worker."""
    return {"Authorization": f"Bearer {key}", "Connection": "close"}


def audited(server: RunningServer) -> list[Mapping[str, object]]:
    return [json.loads(line) for line in (server.data_dir / "audit.log").read_text().splitlines()]


@pytest.fixture(scope="module")
def dify() -> Iterator[LiveDify]:
    with live_dify() as dify:
        yield dify


@contextmanager
def sqlite_file() -> Iterator[Server]:
    yield Server(SQLITE, (), lambda: None)


@pytest.mark.parametrize("started", [sqlite_file, redis_server, postgres_server])
def test_four_workers_let_in_exactly_a_hundred_of_four_hundred(
    started: Callable[[], AbstractContextManager[Server]], dify: LiveDify
) -> None:
    dify.answer = whole
    patience = {"QUEUE_SECONDS": "60", "QUEUE_LENGTH": "400"}
    with started() as back_end, closed_server(dify, back_end.url, **patience) as (server, store):
        text, key = made_key(requests_per_minute=100)
        assert store.add(key)
        began_at = time.monotonic()
        with ThreadPoolExecutor(40) as clients:
            answers = list(clients.map(lambda _: ask(server, text), range(400)))
        seconds = time.monotonic() - began_at

    assert seconds < 60, "a second minute has begun: this machine is too slow for the test"
    assert Counter(answer.status_code for answer in answers) == {200: 100, 429: 300}
    remaining = sorted(
        int(answer.headers["x-ratelimit-remaining-requests"]) for answer in answers if answer.is_success
    )
    assert remaining == list(range(100))
    assert all(1 <= int(answer.headers["Retry-After"]) <= 60 for answer in answers if answer.is_error)


def test_a_revocation_is_known_to_all_workers_within_seconds(dify: LiveDify) -> None:
    dify.answer = whole
    with closed_server(dify, SQLITE, FAILED_LOGINS_PER_MINUTE="0") as (server, store):
        text, key = made_key()
        assert store.add(key)
        assert [models(server, text) for _ in range(5 * WORKERS)] == [200] * 5 * WORKERS
        assert store.replace(key, replace(key, revoked_at=time.time()))
        revoked_at = time.monotonic()
        assert wait_until(lambda: all(models(server, text) == 401 for _ in range(5 * WORKERS)), 30)

        assert time.monotonic() - revoked_at < 15
        assert server.program.log.count(text) == 0
        assert {(each["event"], each.get("reason")) for each in audited(server)} >= {
            ("access refused", "revoked")
        }
        assert text[-20:] not in (server.data_dir / "audit.log").read_text()


def test_a_worker_that_is_killed_gives_back_its_places(dify: LiveDify) -> None:
    patient = PatientDify(dify)
    with closed_server(dify, SQLITE) as (server, store):
        text, key = made_key(concurrency=1)
        assert store.add(key)
        url = f"{server.origin}{CHAT_PATH}"
        with CLIENT.stream("POST", url, json=chat_shape(), headers=bearer(text)) as answer:
            assert answer.status_code == 200
            assert ask(server, text).status_code == 429
            for worker in server.program.workers():
                worker.send_signal(signal.SIGKILL)
            patient.finish.set()
            # The new workers are there when they are.
            assert wait_until(lambda: _is_let_in(server, text), 40)


def _is_let_in(server: RunningServer, key: str) -> bool:
    try:
        return ask(server, key).status_code == 200
    except httpx.HTTPError:
        return False


def test_while_the_store_hangs_known_keys_go_on_and_unknown_ones_wait(dify: LiveDify) -> None:
    dify.answer = whole
    told = {"GUNICORN_WORKERS": "2", "METRICS_API_KEY": METRICS_KEY}
    with redis_server() as redis, closed_server(dify, redis.url, **told) as (server, store):
        text, key = made_key(requests_per_minute=1_000)
        assert store.add(key)
        for _ in range(60):
            assert models(server, text) == 200
        # Worse than one that is gone: its sockets stay open, and nothing comes.
        redis.freeze()
        began_at = time.monotonic()
        assert ask(server, text).status_code == 200, "uncounted, and with a replay"
        assert time.monotonic() - began_at < 10, "one second for the key, its limits and the conversation"

        seen = Counter(models(server, text) for _ in range(20))
        assert set(seen) <= {200, 503}
        assert seen[200] >= 10, "the workers that saw the key let it in"
        assert models(server, new_key("ffffffffffff")) == 503
        assert models(server, "sk-of-the-environment") == 200
        assert ask(server, "sk-of-the-environment").status_code == 200

        page = CLIENT.get(f"{server.origin}/metrics", headers=bearer(METRICS_KEY)).text
        for name in ("keys", "limits", "conversations"):
            assert total(page, "opendify_store_errors_total", store=name) > 0, name
        assert "limits could not be counted" in server.log

        redis.thaw()
        assert wait_until(lambda: models(server, text) == 200, 20)
        assert wait_until(lambda: models(server, new_key("ffffffffffff")) == 401, 20)


def test_starts_and_reloads_are_audited(dify: LiveDify) -> None:
    with closed_server(dify, SQLITE, GUNICORN_WORKERS="1") as (server, _):
        server.program.signal(signal.SIGHUP)

        def loads() -> int:
            return sum(each["event"] == "configuration loaded" for each in audited(server))

        assert wait_until(lambda: loads() == 2, 20)
