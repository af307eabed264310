"""Development: what is changed is live at once, and what is broken is shown until it is mended."""

import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.fakes.live_dify import live_dify
from tests.fakes.waiting import wait_until
from tests.resilience.answers import until_stopped
from tests.resilience.checkouts import Checkout, checked_out
from tests.resilience.server import BareClient

DIFY = "http://127.0.0.1:9/v1"
# On an idle machine it takes two or three.
SECONDS = 20.0


@pytest.fixture
def checkout(tmp_path: Path) -> Iterator[Checkout]:
    """`./start_development.sh` in a copy of the checkout."""
    with checked_out(tmp_path, command=["./start_development.sh"]) as checkout:
        checkout.write_env(DIFY_API_BASE=DIFY, MODEL_CONFIG='{"first": "app-one"}')
        checkout.program.start()
        yield checkout


def answer(checkout: Checkout, path: str = "/") -> httpx.Response:
    """On a connection of its own; asked again while no worker accepts."""
    while True:
        try:
            return httpx.get(f"{checkout.origin}{path}", timeout=SECONDS)
        except httpx.TransportError:
            time.sleep(0.05)


def shows(checkout: Checkout, text: str, path: str = "/") -> bool:
    return wait_until(lambda: text in answer(checkout, path).text, SECONDS)


def test_changes_of_code_and_settings_are_live(checkout: Checkout) -> None:
    checkout.change("opendify/routes/ops.py", '"OpenDify"', '"Changed"')
    assert shows(checkout, "Changed")

    # The master itself imported this one.
    checkout.change("opendify/errors.py", 'code = "not_found"', 'code = "changed_too"')
    assert shows(checkout, "changed_too", "/nowhere")

    checkout.write_env(DIFY_API_BASE=DIFY, MODEL_CONFIG='{"second": "app-one"}')
    assert shows(checkout, "second", "/v1/models")


def test_a_fault_is_shown_and_gone_when_it_is_mended(checkout: Checkout) -> None:
    checkout.change("opendify/routes/ops.py", "import flask\n", "import flask )\n")
    assert shows(checkout, "SyntaxError")
    fault = answer(checkout)
    assert (fault.status_code, fault.json()["error"]["code"]) == (500, "internal_error")
    assert "opendify/routes/ops.py" in fault.json()["error"]["message"]

    checkout.change("opendify/routes/ops.py", "import flask )\n", "import flasks\n")
    assert shows(checkout, "No module named 'flasks'")

    checkout.change("opendify/routes/ops.py", "import flasks\n", "import flask\n")
    assert shows(checkout, '"name"')

    checkout.write_env(DIFY_API_BASE=DIFY, MODEL_CONFIG='{"first": ')
    assert shows(checkout, "MODEL_CONFIG is not valid JSON")
    assert "MODEL_CONFIG is not valid JSON" in checkout.program.log

    checkout.write_env(DIFY_API_BASE=DIFY, MODEL_CONFIG='{"mended": "app-one"}')
    assert shows(checkout, "mended", "/v1/models")


def test_a_change_does_not_wait_for_running_answers(tmp_path: Path) -> None:
    with live_dify() as dify, checked_out(tmp_path, command=["./start_development.sh"]) as checkout:
        dify.answer = until_stopped(dify)
        table = '{"bot": {"api_key": "app-bot", "mode": "chat"}}'
        checkout.write_env(DIFY_API_BASE=dify.base_url, MODEL_CONFIG=table)
        checkout.program.start()
        with BareClient(checkout.port) as client:
            client.ask()
            client.read_until(b"la ")

            checkout.change("opendify/routes/ops.py", '"OpenDify"', '"Changed"')

            assert b'"draining"' in client.read_until(b"\r\n0\r\n\r\n")
            assert shows(checkout, "Changed")
