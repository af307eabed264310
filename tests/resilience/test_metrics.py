"""Numbers of several processes: one sum, whichever worker is asked, and right after every kind of end."""

import signal
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from tests.fakes.live_dify import LiveDify, live_dify
from tests.fakes.metrics_page import total
from tests.fakes.waiting import wait_until
from tests.resilience.answers import lasting, until_stopped
from tests.resilience.server import RunningServer, running_server

KINDS: Mapping[str, Mapping[str, str]] = {
    "threaded": {},
    "plain": {"GUNICORN_THREADS": "1", "GUNICORN_WORKERS": "3"},
    "gevent": {"GUNICORN_WORKER_CLASS": "gevent"},
}
kinds = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)


@pytest.fixture
def dify() -> Iterator[LiveDify]:
    with live_dify() as dify:
        yield dify


def metrics_of(server: RunningServer, **headers: str) -> str:
    """The page, by whichever worker takes the connection."""
    answer = httpx.get(f"{server.origin}/metrics", headers=headers, timeout=20)
    assert answer.status_code == 200, answer.text
    return answer.text


def chats(page: str) -> float:
    return total(page, "opendify_requests_total", route="/v1/chat/completions")


@kinds
def test_every_worker_tells_the_sum_of_all(dify: LiveDify, kind: Mapping[str, str]) -> None:
    with running_server(dify, **kind) as server:
        for _ in range(20):
            assert server.chat().status_code == 200

        pages = [metrics_of(server) for _ in range(6)]

        assert [chats(page) for page in pages] == [20.0] * 6
        assert total(pages[-1], "opendify_upstream_requests_total", model="bot", outcome="whole") == 20
        assert total(pages[-1], "opendify_request_duration_seconds_count", model="bot") == 20
        assert total(pages[-1], "opendify_streams_in_flight") == 0
        processes = {"master", *(str(n + 1) for n in range(len(server.program.workers())))}
        shown = {line.split('"')[1] for line in pages[-1].splitlines() if "worker_rss_bytes{" in line}
        assert shown == processes


@kinds
def test_what_a_killed_worker_held_is_in_progress_no_more(dify: LiveDify, kind: Mapping[str, str]) -> None:
    dify.answer = until_stopped(dify)
    with running_server(dify, **kind) as server, ExitStack() as stack:
        for _ in range(2):
            client = stack.enter_context(server.client())
            client.ask()
            client.read_until(b"la ")
        assert total(metrics_of(server), "opendify_streams_in_flight") == 2

        killed = server.program.workers()
        for worker in killed:
            worker.send_signal(signal.SIGKILL)
        # The master takes them from the page one by one, as it learns that they are gone.
        assert wait_until(lambda: server.program.log.count("SIGKILL") >= len(killed), 20)
        assert wait_until(server.program._answers, 20)

        page = metrics_of(server)
        assert total(page, "opendify_streams_in_flight") == 0
        assert total(page, "opendify_chats_in_flight") == 0
        assert total(page, "opendify_worker_exits_total", cause="unasked") >= 2


@kinds
def test_a_worker_that_served_its_share_did_not_die(dify: LiveDify, kind: Mapping[str, str]) -> None:
    with running_server(dify, GUNICORN_MAX_REQUESTS="3", **kind) as server:

        def one_was_recycled() -> bool:
            server.chat()
            return total(metrics_of(server), "opendify_worker_exits_total", cause="recycled") >= 2

        assert wait_until(one_was_recycled, 40)
        assert total(metrics_of(server), "opendify_worker_exits_total", cause="unasked") == 0


def test_a_reload_keeps_the_counters_and_a_restart_begins_anew(dify: LiveDify) -> None:
    with running_server(dify) as server:
        for _ in range(5):
            server.chat()
        before = {worker.pid for worker in server.program.workers()}
        server.program.signal(signal.SIGHUP)
        assert wait_until(lambda: not before & {worker.pid for worker in server.program.workers()}, 30)

        server.chat()
        page = metrics_of(server)
        assert chats(page) == 6
        assert total(page, "opendify_config_reload_success") == 1
        files = [file for folder in _folders_of(server) for file in folder.glob("counter_*")]
        assert len(files) <= 5, "successors take the numbers of the dead"

        server.program.stop()
        server.program.start()

        assert chats(metrics_of(server)) == 0


def _folders_of(server: RunningServer) -> set[Path]:
    """Where its workers keep their numbers; other instances may run beside it."""
    maps = [Path(each.path) for worker in server.program.workers() for each in worker.memory_maps()]
    return {path.parent for path in maps if path.parent.name.startswith("opendify-metrics-")}


def test_instances_count_apart_and_leave_nothing_behind(dify: LiveDify) -> None:
    with running_server(dify) as one, running_server(dify) as other:
        one.chat()
        other.chat()
        other.chat()

        assert [chats(metrics_of(each)) for each in (one, other)] == [1, 2]
        (folder,), (another,) = _folders_of(one), _folders_of(other)
        assert folder != another

        one.program.stop()
        other.program.stop()
    assert not folder.exists()
    assert not another.exists()


def test_the_page_opens_with_its_own_key_or_the_admins(dify: LiveDify) -> None:
    keys = {
        "AUTH_MODE": "keys",
        "API_KEYS": "team:sk-team-key-0000000",
        "ADMIN_API_KEY": "sk-admin-key-000000",
        "METRICS_API_KEY": "sk-metrics-key-00000",
    }
    with running_server(dify, **keys) as server:

        def status(key: str, path: str = "/metrics") -> int:
            headers = {"Authorization": f"Bearer {key}"} if key else {}
            return httpx.get(f"{server.origin}{path}", headers=headers).status_code

        assert status("") == 401
        assert status("sk-wrong-key-0000000") == 401
        assert status("sk-team-key-0000000") == 403
        assert status("sk-admin-key-000000") == 200
        assert status("sk-metrics-key-00000") == 200
        assert status("sk-metrics-key-00000", "/v1/models") == 401
        page = metrics_of(server, Authorization="Bearer sk-metrics-key-00000")
        assert total(page, "opendify_auth_failures_total", reason="invalid_api_key") == 3
        assert total(page, "opendify_refused_keys_total", reason="wrong_key") == 2
        assert total(page, "opendify_refused_keys_total", reason="no_admin_key") == 1


def test_where_metrics_are_off_nothing_is_kept(dify: LiveDify) -> None:
    with running_server(dify, ENABLE_METRICS="false") as server:
        assert server.chat().status_code == 200
        assert httpx.get(f"{server.origin}/metrics").status_code == 404
        assert _folders_of(server) == set()


def test_a_stream_that_its_client_left_is_told_apart(dify: LiveDify) -> None:
    dify.answer = lasting(10)
    with running_server(dify) as server:
        with server.client() as client:
            client.ask()
            client.read_until(b"la ")

        def left() -> bool:
            page = metrics_of(server)
            phase = total(page, "opendify_client_disconnects_total", phase="stream")
            return phase == 1 and total(page, "opendify_upstream_requests_total", outcome="stopped") == 1

        assert wait_until(left, 20)
        assert total(metrics_of(server), "opendify_time_to_first_token_seconds_count", model="bot") == 1
