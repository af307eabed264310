"""The real server, a faulty line to Dify, and what may be said of the answers that come over it."""

import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

import httpx
import psutil

from opendify.simulator import DEMO_MODELS, SimulatorOptions, create_simulator, serve_in_background
from tests.fakes.frames import Shape, read_frames, text_of
from tests.fakes.openai_errors import assert_error_object, assert_openai_error
from tests.resilience.fault_proxy import FaultProxy, fault_proxy
from tests.resilience.server import CHAT_PATH, MODEL, RunningServer, chat_shape, running_server

SPARE = "spare"
WITH_FALLBACK = "safe"
# Its spare answers even where its own run may have begun.
WITH_FALLBACK_AFTER_ALL = "safest"
TEXT = "ECHO prior=0 w0 w1 w2 w3 w4 w5 w6 w7"
QUESTION = "LONG:8"
AT_ONCE = 8
# Silence is to end soon, but not while a busy machine only takes its time.
TIMES = {
    "DIFY_CONNECT_TIMEOUT": "2",
    "STREAM_COMMIT_SECONDS": "3",
    "KEEPALIVE_SECONDS": "1",
    "DIFY_IDLE_TIMEOUT": "6",
    "DIFY_FIRST_EVENT_TIMEOUT": "6",
}
# A connection each: what is kept for later would look like one that was left behind.
_HTTP = httpx.Client(timeout=20, limits=httpx.Limits(max_keepalive_connections=0))


@dataclass(frozen=True)
class Stand:
    """The real server, a proxy, and the simulator behind it, which counts its runs."""

    server: RunningServer
    proxy: FaultProxy
    simulator: str

    @property
    def runs(self) -> int:
        return len(_HTTP.get(f"{self.simulator}/_simulator/requests").json()["requests"])

    def ask(self, *, streams: bool, model: str = MODEL) -> httpx.Response:
        shape = chat_shape(QUESTION, streams=streams) | {"model": model}
        return _HTTP.post(f"{self.server.origin}{CHAT_PATH}", json=shape)

    def ask_all(self, streamed: Sequence[bool], model: str = MODEL) -> list[httpx.Response]:
        """Some at once; whether each is streamed."""
        with ThreadPoolExecutor(AT_ONCE) as pool:
            return list(pool.map(lambda streams: self.ask(streams=streams, model=model), streamed))

    @property
    def worker(self) -> psutil.Process:
        (worker,) = self.server.program.workers()
        return worker


@contextmanager
def stand(**environment: str) -> Iterator[Stand]:
    """One worker, which has asked for all that it asks once."""
    simulated = create_simulator(SimulatorOptions(token_delay_seconds=0.005))
    with ExitStack() as stack:
        base_url = stack.enter_context(serve_in_background(simulated))
        address = urlsplit(base_url)
        proxy = stack.enter_context(fault_proxy(address.port or 0))
        spare = {"api_key": DEMO_MODELS["demo-chat"], "api_base": base_url}
        app = {"api_key": DEMO_MODELS["demo-chat"]}
        told = {
            "MODEL_CONFIG": json.dumps(
                {
                    MODEL: app,
                    SPARE: spare,
                    WITH_FALLBACK: {**app, "fallbacks": [SPARE]},
                    WITH_FALLBACK_AFTER_ALL: {**app, "fallbacks": [SPARE], "fallback_on": "failed"},
                }
            ),
            "DIFY_API_BASE": proxy.base_url,
            "GUNICORN_WORKERS": "1",
            "GUNICORN_THREADS": str(3 * AT_ONCE),
            **TIMES,
            **environment,
        }
        server = stack.enter_context(running_server(proxy, **told))
        here = Stand(server, proxy, f"http://{address.netloc}")
        answers = here.ask_all([True] * 4 * AT_ONCE)
        assert [answer.text for answer in answers if answer.status_code != 200] == []
        yield here


def frames_of(response: httpx.Response) -> list[Shape | str]:
    return [frame for frame in read_frames([response.content]) if frame != ": keep-alive"]


def whole_text(response: httpx.Response) -> str | None:
    """The answer, if it claims to be whole; else None, after a look at its error."""
    if response.headers["Content-Type"] == "application/json":
        body = response.json()
        if response.status_code == 200:
            return str(body["choices"][0]["message"]["content"])
        assert response.status_code in {502, 503, 504}, response.text
        assert_openai_error(response, response.status_code, body["error"]["code"])
        return None
    assert response.status_code == 200
    frames = frames_of(response)
    if frames[-1] == "[DONE]":
        return text_of(frames[:-1])
    assert isinstance(frames[-1], dict)
    assert_error_object(frames[-1], 502, frames[-1]["error"]["code"])
    assert TEXT.startswith(text_of(frames[:-1])), "what was said before the fault is not falsified"
    return None


BROKEN = (502, "upstream_error")
AWAY = (503, "upstream_unreachable")
SILENT = (504, "upstream_timeout")


def assert_refused(response: httpx.Response, status: int, code: str) -> None:
    assert_openai_error(response, status, code)
    advice = {name for name in ("Retry-After", "x-should-retry") if name in response.headers}
    assert advice == ({"Retry-After"} if status == 503 else {"x-should-retry"})


def assert_broken_off(response: httpx.Response, code: str) -> None:
    assert response.status_code == 200
    frames = frames_of(response)
    assert "[DONE]" not in frames
    assert_error_object(frames[-1], 504 if code == "upstream_timeout" else 502, code)
