"""Nothing that a client or Dify said, and no secret, is in anything that the service tells of itself."""

import io
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import httpx
import pytest
import sentry_sdk
from flask.testing import FlaskClient

from opendify.app import create_app
from opendify.settings import SettingsError
from opendify.settings.sentry import SentrySettings
from opendify.telemetry.logs import JsonFormatter, TextFormatter
from opendify.telemetry.sentry import Reporter, ReportHandler
from tests.conftest import Serve
from tests.fakes.frames import END, message
from tests.fakes.mock_dify import MockDify, refusal, stream
from tests.fakes.sentry import Sentry, sentry_listening
from tests.fakes.settings import make_settings

KEY: Final = "sk-canary-key-00000000"
PROMPT: Final = "canary-prompt"
ANSWER: Final = "canary-answer"
FILE_URL: Final = "https://files.example/canary-file?signature=canary-signature"
APP_KEY: Final = "app-canary"
CANARIES: Final = (
    KEY,
    PROMPT,
    ANSWER,
    "canary-file",
    "canary-signature",
    APP_KEY,
    "canary-header",
    "canary-query",
)


@contextmanager
def handled(*handlers: logging.Handler) -> Iterator[None]:
    """Everything is logged, and `handlers` are told."""
    root = logging.getLogger()
    level = root.level
    for handler in handlers:
        root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    try:
        yield
    finally:
        root.setLevel(level)
        for handler in handlers:
            root.removeHandler(handler)


def _written(formatter: logging.Formatter) -> tuple[io.StringIO, logging.Handler]:
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    handler.setFormatter(formatter)
    return written, handler


def _fail_by_a_fault_of_ours() -> httpx.BaseTransport:
    prompt = PROMPT
    raise RuntimeError(f"{prompt} {ANSWER} {KEY}")


RUNS: Final = {
    "whole": lambda _: stream(message(ANSWER) + END),
    "cut": lambda _: stream(message(ANSWER)),
    "garbled": lambda _: stream(b"data: {canary-answer\n\n"),
    "refused": lambda _: refusal(400, "invalid_param", f"{PROMPT} is not right"),
    "refuses our key": lambda _: refusal(401, "unauthorized", ANSWER),
    "html": lambda _: httpx.Response(500, html=ANSWER),
}


def _broken_client() -> FlaskClient:
    """Of a service that fails by a fault of its own as soon as it turns to Dify."""
    return create_app(make_settings(), transport=_fail_by_a_fault_of_ours).test_client()


@pytest.fixture
def sentry() -> Iterator[Sentry]:
    with sentry_listening() as sentry:
        yield sentry
        sentry_sdk.get_client().close()
        sentry_sdk.init()


def _ask_in_every_way(serve: Serve, dify: MockDify) -> tuple[str, list[str]]:
    """The page of metrics afterwards, and the bodies of all errors that are not Dify's own words."""
    client = serve(
        {"bot": APP_KEY}, AUTH_MODE="keys", API_KEYS=f"anna:{KEY}", ADMIN_API_KEY="sk-admin-000000000"
    )
    headers = {"Authorization": f"Bearer {KEY}", "X-Own": "canary-header"}
    content = [{"type": "text", "text": PROMPT}, {"type": "image_url", "image_url": {"url": FILE_URL}}]
    body = {"model": "bot", "messages": [{"role": "user", "content": content}]}
    faults = []
    for name, run in RUNS.items():
        dify.answers["run"] = run
        for streams in (False, True):
            answer = client.post(
                "/v1/chat/completions?key=canary-query", json={**body, "stream": streams}, headers=headers
            )
            text = answer.get_data(as_text=True)
            answer.close()
            if name not in {"whole", "cut", "refused"}:
                faults.append(text)
    answer = _broken_client().post("/v1/chat/completions", json=body, headers=headers)
    faults.append(answer.get_data(as_text=True))
    for wrong in ({"model": "bot", "messages": PROMPT}, {**body, "temperature": PROMPT}):
        client.post("/v1/chat/completions", json=wrong, headers=headers).close()
    client.post("/v1/chat/completions", json=body, headers={"Authorization": f"Bearer {KEY}x"}).close()
    client.get(f"/v1/models/{PROMPT}", headers=headers).close()
    page = client.get("/metrics", headers={"Authorization": "Bearer sk-admin-000000000"}).get_data(
        as_text=True
    )
    return page, faults


def test_no_canary_comes_out_anywhere(serve: Serve, dify: MockDify, sentry: Sentry) -> None:
    text, text_handler = _written(TextFormatter())
    lines, json_handler = _written(JsonFormatter())
    report = ReportHandler(Reporter(SentrySettings(dsn=sentry.dsn), "production"))

    with handled(text_handler, json_handler, report):
        page, faults = _ask_in_every_way(serve, dify)
    sentry_sdk.flush(10)

    assert "by a fault of ours" in text.getvalue()
    assert 'model="bot"' in page
    assert len(sentry.events) == 1
    told = [text.getvalue(), lines.getvalue(), page, *faults, *(each.decode() for each in sentry.raw)]
    for canary in CANARIES:
        assert not [each for each in told if canary in each], canary


def test_a_report_tells_where_the_fault_is(sentry: Sentry) -> None:
    report = ReportHandler(Reporter(SentrySettings(dsn=sentry.dsn), "production"))

    with handled(report):
        body = {"model": "bot", "messages": [{"role": "user", "content": PROMPT}]}
        _broken_client().post("/v1/chat/completions", json=body).close()
    sentry_sdk.flush(10)

    (event,) = sentry.events
    (last,) = [each for each in event["exception"]["values"] if each["type"] == "RuntimeError"]
    frame = last["stacktrace"]["frames"][-1]
    assert frame["function"] == "_fail_by_a_fault_of_ours"
    assert "vars" not in frame
    assert event["environment"] == "production"
    assert not {"request", "breadcrumbs", "contexts", "server_name", "modules", "extra"} & event.keys()


def test_a_dsn_that_is_none_is_refused_without_being_repeated() -> None:
    with pytest.raises(SettingsError, match="SENTRY_DSN") as refused:
        Reporter(SentrySettings(dsn="canary-secret"), "production")

    assert "canary-secret" not in str(refused.value)
