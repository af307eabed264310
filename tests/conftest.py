"""What all tests share: a Dify at the transport seam, and a network that ends at this machine."""

import ipaddress
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from opendify.app import create_app
from tests.fakes.mock_dify import MockDify
from tests.fakes.settings import make_settings
from tests.fakes.waiting import NewThreads, run_threads

Serve = Callable[..., FlaskClient]


def _refuse_the_network(happening: str, facts: tuple[object, ...]) -> None:
    if happening != "socket.connect" or not isinstance(facts[1], tuple):
        return
    host = str(facts[1][0])
    if host in {"localhost", "0.0.0.0", "::"}:
        return
    if not ipaddress.ip_address(host.partition("%")[0]).is_loopback:
        raise RuntimeError(f"a test wanted to connect to {host}")


# A hook of the interpreter needs no patching, and holds for every library.
sys.addaudithook(_refuse_the_network)


@pytest.fixture
def dify() -> MockDify:
    return MockDify()


@pytest.fixture
def serve(dify: MockDify, tmp_path: Path) -> Iterator[Serve]:
    """Makes a test client of the app in front of `dify`; takes what `make_settings` takes."""
    made = []

    def client(models: dict[str, object] | None = None, /, **environ: str) -> FlaskClient:
        settings = make_settings(models, **{"DATA_DIR": str(tmp_path), **environ})
        app = create_app(settings, transport=dify.transport, now=lambda: 1_700_000_000)
        made.append(app.extensions["opendify"])
        return app.test_client()

    yield client
    for gateway in made:
        gateway.close()


@pytest.fixture
def new_run_threads() -> NewThreads:
    before = set(run_threads())
    return lambda: [thread for thread in run_threads() if thread not in before]
