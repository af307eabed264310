"""The stand that the tests of this folder share: a real server before a scripted Dify."""

import signal

import httpx

from tests.fakes.live_dify import LiveDify, live_dify
from tests.fakes.waiting import wait_until
from tests.resilience.server import RunningServer, running_server


def test_an_answer_passes_through_the_server_and_an_order_to_stop_ends_it() -> None:
    with live_dify() as dify, running_server(dify) as server:
        assert server.chat("Hello").json()["choices"][0]["message"]["content"] == "Hello"
        with server.client() as client:
            client.ask()
            assert b"data: [DONE]" in client.read_until(b"\r\n0\r\n\r\n")
        assert len(dify.runs) == 2
        assert len(server.program.workers()) == 2

        server.program.signal(signal.SIGTERM)

        assert server.program.exit_code() == 0, server.log


def test_connections_that_dify_closed_while_they_were_idle_are_closed_here_too() -> None:
    with live_dify() as dify, running_server(dify, GUNICORN_WORKERS="1") as server:
        assert server.chat("Hello").status_code == 200

        # One is left, on which it asked what the app is.
        assert wait_until(lambda: connections_to(dify, server) <= 1, 20)


def connections_to(dify: LiveDify, server: RunningServer) -> int:
    port = httpx.URL(dify.base_url).port
    return sum(
        bool(connection.raddr) and connection.raddr.port == port
        for worker in server.program.workers()
        for connection in worker.net_connections("tcp")
    )
