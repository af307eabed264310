"""Faults of workers that were forked reach a Sentry, and nothing of a request with them."""

import httpx

from tests.fakes.live_dify import live_dify
from tests.fakes.sentry import sentry_listening
from tests.fakes.waiting import wait_until
from tests.resilience.server import running_server


def test_each_forked_worker_reports_its_faults_without_a_word_of_the_request() -> None:
    with live_dify() as dify, sentry_listening() as sentry:
        app = "tests.fakes.faulty_app:app"
        with running_server(dify, app=app, SENTRY_DSN=sentry.dsn) as server:
            answers = [
                httpx.get(
                    f"{server.origin}/fault/canary-prompt?key=canary-query",
                    headers={"Authorization": "Bearer canary-key", "Connection": "close"},
                    timeout=30,
                )
                for _ in range(12)
            ]
            assert {answer.status_code for answer in answers} == {500}
            assert "canary" not in "".join(answer.text for answer in answers)

            assert wait_until(lambda: len(sentry.events) == 12, 30), "sent while the workers go on"
            log = server.log

    assert "by a fault of ours" in log
    for told in (*sentry.raw, log.encode()):
        assert b"canary" not in told
    frames = sentry.events[0]["exception"]["values"][-1]["stacktrace"]["frames"]
    assert frames[-1]["function"] == "fail"
