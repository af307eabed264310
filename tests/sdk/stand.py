"""OpenDify on a real socket before a simulated Dify, both counted: what the SDK's tests run against."""

import dataclasses
import json
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from threading import Thread
from typing import TYPE_CHECKING, Any, Final

import httpx

from opendify.app import create_app
from opendify.settings import load_settings
from opendify.simulator import DEMO_MODELS, SimulatorOptions, create_simulator
from opendify.simulator.server import make_simulator_server
from tests.fakes.served_app import served
from tests.fakes.settings import memory_of_its_own

if TYPE_CHECKING:
    from collections.abc import Iterable

    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

API_KEY: Final = "sk-the-right-key-of-this-test"
ODD_NAMES: Final = ("team/support bot", "客服助手")
UNREACHABLE: Final = "unreachable"
CITING: Final = "cites"
# Dify, and so the simulator, closes idle connections after two seconds.
_LIMITS: Final = httpx.Limits(keepalive_expiry=1.5)


class SeenRequests:
    """WSGI middleware that notes every request as `METHOD /path` before it is served."""

    def __init__(self, app: "WSGIApplication") -> None:
        self.lines: list[str] = []
        self._app = app

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> "Iterable[bytes]":
        """See PEP 3333."""
        self.lines.append(f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}")
        return self._app(environ, start_response)


class SimulatedDify:
    """What a simulator on a socket tells of itself. `url` ends in `/v1`."""

    def __init__(self, origin: str) -> None:
        self.url = f"{origin}/v1"
        self._control = httpx.Client(base_url=f"{origin}/_simulator")

    def count(self, name: str) -> int:
        """One of `requests` (runs), `stops`, `aborted_streams`, `running`."""
        counted = self._control.get("/counts").json()[name]
        assert isinstance(counted, int)
        return counted

    def last_run(self) -> dict[str, object]:
        """The body of the newest run request."""
        return self.runs()[-1]

    def runs(self) -> list[dict[str, Any]]:
        """The bodies of all run requests, in order."""
        bodies = [each["body"] for each in self._control.get("/requests").json()["requests"]]
        assert all(isinstance(body, dict) for body in bodies)
        return bodies

    def reset(self) -> None:
        """Forget everything, counts too."""
        self._control.post("/reset")

    def close(self) -> None:
        """Close the connection to it."""
        self._control.close()


@dataclass(frozen=True)
class Stand:
    """`origin` is the app's base URL without `/v1`; `seen` are the requests that it got."""

    origin: str
    dify: SimulatedDify
    seen: list[str]

    @property
    def base_url(self) -> str:
        """What a user gives to a client."""
        return f"{self.origin}/v1"

    def forget(self) -> None:
        """Start counting anew."""
        self.dify.reset()
        self.seen.clear()


@contextmanager
def opened_stand() -> Iterator[Stand]:
    """Serve both on free loopback ports until the block ends."""
    with _simulated_dify() as dify, _closed_port() as port, ExitStack() as opened:
        models: dict[str, object] = {**DEMO_MODELS, **dict.fromkeys(ODD_NAMES, DEMO_MODELS["demo-chat"])}
        models[CITING] = {"api_key": "app-demo-chat-citations", "reasoning": "separate"}
        models[UNREACHABLE] = {
            "api_key": "app-x",
            "mode": "chat",
            "api_base": f"http://127.0.0.1:{port}/v1",
        }
        settings = load_settings(
            {
                "MODEL_CONFIG": json.dumps(models),
                "DIFY_API_BASE": dify.url,
                "API_KEYS": f"tests:{API_KEY}",
                **memory_of_its_own(),
            }
        )
        app = create_app(
            # A client that left is noticed at the next keep-alive.
            dataclasses.replace(settings, keepalive_seconds=0.1),
            transport=lambda: opened.enter_context(httpx.HTTPTransport(limits=_LIMITS)),
        )
        seen = SeenRequests(app.wsgi_app)
        # Flask's own way to put a middleware in front of an app.
        app.wsgi_app = seen  # type: ignore[method-assign]
        with served(app) as origin:
            yield Stand(origin, dify, seen.lines)


@contextmanager
def _simulated_dify() -> Iterator[SimulatedDify]:
    options = SimulatorOptions(
        token_delay_seconds=0, naming_delay_seconds=0, message_time_resolution_seconds=0
    )
    server = make_simulator_server(create_simulator(options))
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    dify = SimulatedDify(f"http://127.0.0.1:{server.server_port}")
    try:
        yield dify
    finally:
        dify.close()
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def _closed_port() -> Iterator[int]:
    """A port that is taken but does not listen, so that nobody else can open it meanwhile."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]
