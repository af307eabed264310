"""Every fault of a connection to Dify, on the real server: an honest error or the whole answer, and one run.

Half an answer must never look like one that is whole, and nothing may stay behind.
"""

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

import httpx
import psutil
import pytest

from opendify.simulator import DEMO_MODELS, SimulatorOptions, create_simulator, serve_in_background
from tests.fakes.frames import Shape, read_frames, text_of
from tests.fakes.openai_errors import assert_error_object, assert_openai_error
from tests.fakes.waiting import wait_until
from tests.resilience.fault_proxy import (
    FaultProxy,
    Toxic,
    bandwidth,
    fault_proxy,
    latency,
    limit_data,
    reset_peer,
    slicer,
    slow_close,
    timeout,
)
from tests.resilience.server import CHAT_PATH, MODEL, RunningServer, chat_shape, running_server

SPARE = "spare"
WITH_FALLBACK = "safe"
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
                {MODEL: app, SPARE: spare, WITH_FALLBACK: {**app, "fallbacks": [SPARE]}}
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


@pytest.fixture(scope="module")
def shared() -> Iterator[Stand]:
    """Shared: its circuit stays closed, so that one fault says nothing of the next."""
    with stand(DIFY_CIRCUIT_FAILURES="0") as made:
        yield made


@pytest.fixture
def here(shared: Stand) -> Iterator[Stand]:
    """Nothing is armed, and nothing may stay behind: no thread, no connection in use."""
    threads = shared.worker.num_threads()
    yield shared
    shared.proxy.listen()
    shared.proxy.arm()
    # Dify closes what is kept for a next run after two seconds.
    assert wait_until(lambda: not _connections(shared.worker), 15), _connections(shared.worker)
    assert wait_until(lambda: shared.worker.num_threads() <= threads, 15), (
        threads,
        shared.worker.num_threads(),
    )


def _connections(worker: psutil.Process) -> list[object]:
    return [each for each in worker.net_connections("tcp") if each.status == psutil.CONN_ESTABLISHED]


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


HARMLESS: Mapping[str, Toxic] = {
    "latency": latency(0.1, jitter=0),
    "jitter": latency(0.05, jitter=0.05),
    "bandwidth": bandwidth(8_000),
    "slicer": slicer(1),
    "slow_close": slow_close(2.0),
}


@pytest.mark.parametrize("name", HARMLESS)
def test_what_only_slows_the_answer_loses_nothing(here: Stand, name: str) -> None:
    here.proxy.arm(HARMLESS[name])
    before = here.runs

    assert [whole_text(answer) for answer in here.ask_all([False, True])] == [TEXT, TEXT]
    assert here.runs == before + 2


def test_a_slow_close_keeps_nobody_waiting(here: Stand) -> None:
    here.proxy.arm(slow_close(10.0))
    began_at = time.monotonic()

    assert whole_text(here.ask(streams=False)) == TEXT
    assert time.monotonic() - began_at < 5


@dataclass(frozen=True)
class Fault:
    """What happens, what a client gets that takes the answer whole or streamed, and how many runs began."""

    happens: Callable[[FaultProxy], None]
    whole: tuple[int, str]
    streamed: tuple[int, str]
    runs: int


BROKEN = (502, "upstream_error")
AWAY = (503, "upstream_unreachable")
SILENT = (504, "upstream_timeout")
# A stream's status is 200 where it had to be said before the fault.
FAULTS: Mapping[str, Fault] = {
    "nobody listens": Fault(FaultProxy.refuse, AWAY, AWAY, 0),
    "never accepts": Fault(FaultProxy.never_accept, AWAY, AWAY, 0),
    "reset at once": Fault(lambda proxy: proxy.arm(resets_at_once=True), BROKEN, BROKEN, 0),
    "hangs before Dify": Fault(
        lambda proxy: proxy.arm(swallows_requests=True), SILENT, (200, "upstream_timeout"), 0
    ),
    "hangs after Dify": Fault(lambda proxy: proxy.arm(timeout), SILENT, (200, "upstream_timeout"), 1),
    "cut before the head": Fault(lambda proxy: proxy.arm(limit_data(0)), BROKEN, BROKEN, 1),
    "cut in the head": Fault(lambda proxy: proxy.arm(limit_data(40)), BROKEN, BROKEN, 1),
    "cut in the first event": Fault(lambda proxy: proxy.arm(limit_data(600)), BROKEN, BROKEN, 1),
    "cut in mid-answer": Fault(
        lambda proxy: proxy.arm(limit_data(2_000)), BROKEN, (200, "upstream_error"), 1
    ),
    "reset before the head": Fault(lambda proxy: proxy.arm(reset_peer(0)), BROKEN, BROKEN, 1),
    "reset in mid-answer": Fault(
        lambda proxy: proxy.arm(reset_peer(2_000)), BROKEN, (200, "upstream_error"), 1
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_what_breaks_the_answer_is_an_honest_error(here: Stand, name: str) -> None:
    fault = FAULTS[name]
    before = here.runs
    fault.happens(here.proxy)

    whole, streamed = here.ask_all([False, True])

    assert_refused(whole, *fault.whole)
    status, code = fault.streamed
    if status == 200:
        assert_broken_off(streamed, code)
    else:
        assert_refused(streamed, status, code)
    assert here.runs == before + 2 * fault.runs


def assert_refused(response: httpx.Response, status: int, code: str) -> None:
    assert_openai_error(response, status, code)
    advice = {name for name in ("Retry-After", "x-should-retry") if name in response.headers}
    assert advice == ({"Retry-After"} if status == 503 else {"x-should-retry"})


def assert_broken_off(response: httpx.Response, code: str) -> None:
    assert response.status_code == 200
    frames = frames_of(response)
    assert "[DONE]" not in frames
    assert_error_object(frames[-1], 504 if code == "upstream_timeout" else 502, code)


@pytest.mark.parametrize("ending", [limit_data, reset_peer], ids=["cut", "reset"])
def test_an_answer_that_ends_anywhere_is_whole_or_an_error(
    here: Stand, ending: Callable[[int], Toxic]
) -> None:
    assert whole_text(here.ask(streams=True)) == TEXT
    length = len(here.proxy.passed)
    before = here.runs
    places = range(17, length - 17, length // 12)
    found: list[str | None] = []

    for place in places:
        here.proxy.arm(ending(place))
        found += [whole_text(answer) for answer in here.ask_all([False, True])]

    assert set(found) <= {None, TEXT}
    assert found[:2] == [None, None]
    assert here.runs == before + 2 * len(places)


@pytest.mark.parametrize("name", ["nobody listens", "never accepts"])
def test_another_model_answers_where_the_first_cannot_be_reached(here: Stand, name: str) -> None:
    FAULTS[name].happens(here.proxy)

    for answer in here.ask_all([False, True], model=WITH_FALLBACK):
        assert whole_text(answer) == TEXT
        assert answer.headers["X-OpenDify-Model"] == SPARE


def test_a_run_that_meets_nobody_is_tried_again_until_somebody_is_back(here: Stand) -> None:
    before = here.runs
    here.proxy.refuse()
    answers: list[httpx.Response] = []
    asking = threading.Thread(target=lambda: answers.append(here.ask(streams=True)))
    asking.start()
    assert wait_until(lambda: "a run is tried again" in here.server.log, 10)

    here.proxy.listen()
    asking.join(20)

    assert [whole_text(answer) for answer in answers] == [TEXT]
    assert here.runs == before + 1


def test_a_dify_that_is_away_is_left_alone_and_found_again_by_one_call() -> None:
    with stand(DIFY_CIRCUIT_SECONDS="2", DIFY_CIRCUIT_FAILURES="5") as here:
        before = here.runs
        here.proxy.refuse()
        refused = here.ask_all([True] * 6 * AT_ONCE)
        codes = Counter(answer.json()["error"]["code"] for answer in refused)
        assert set(codes) == {"upstream_unreachable", "upstream_circuit_open"}
        assert codes["upstream_circuit_open"] > codes["upstream_unreachable"]
        assert all(answer.headers["Retry-After"] for answer in refused)

        here.proxy.arm()
        here.proxy.listen()
        assert wait_until(lambda: here.ask(streams=True).status_code == 200, 15)
        answers = here.ask_all([True] * 2 * AT_ONCE)

        assert {whole_text(answer) for answer in answers} == {TEXT}
        assert here.runs == before + 1 + 2 * AT_ONCE
