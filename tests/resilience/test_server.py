"""The stand that the tests of this folder share: a real server before a scripted Dify."""

import signal

from tests.fakes.live_dify import live_dify
from tests.resilience.server import running_server


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
