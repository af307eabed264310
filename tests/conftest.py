"""What all tests share: a Dify at the transport seam, and a network that ends at this machine."""

import ipaddress
import sys
from collections.abc import Callable

import flask
import pytest
from flask.testing import FlaskClient

from opendify.app import create_app
from tests.fakes.mock_dify import MockDify
from tests.fakes.settings import make_settings

Serve = Callable[..., FlaskClient]


def _refuse_the_network(happening: str, facts: tuple[object, ...]) -> None:
    if happening != "socket.connect" or not isinstance(facts[1], tuple):
        return
    host = str(facts[1][0])
    if host != "localhost" and not ipaddress.ip_address(host.partition("%")[0]).is_loopback:
        raise RuntimeError(f"a test wanted to connect to {host}")


# A hook of the interpreter needs no patching, and holds for every library.
sys.addaudithook(_refuse_the_network)


@pytest.fixture
def dify() -> MockDify:
    return MockDify()


@pytest.fixture
def serve(dify: MockDify) -> Serve:
    """Makes a test client of the app in front of `dify`; takes what `make_settings` takes."""

    def client(models: dict[str, object] | None = None, **environ: str) -> FlaskClient:
        app = create_app(make_settings(models, **environ), transport=dify.transport, now=lambda: 1_700_000_000)
        return _local(app)

    return client


def _local(app: flask.Flask) -> FlaskClient:
    return app.test_client()
