"""OpenAI's own SDK repeats requests over a line that breaks; Dify is asked once."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import httpx
import openai
import psutil
import pytest
from openai.types.chat import ChatCompletion

from tests.fakes.frames import END, event, message
from tests.fakes.live_dify import LiveDify, Wire, live_dify
from tests.fakes.waiting import wait_until
from tests.resilience.cutting import CuttingProxy, cutting_proxy
from tests.resilience.server import CHAT_PATH, MODEL, RunningServer, chat_shape, running_server

SOON = 20.0
_Result = TypeVar("_Result")


@pytest.fixture(scope="module")
def dify() -> Iterator[LiveDify]:
    with live_dify() as dify:
        yield dify


@pytest.fixture(scope="module")
def server(dify: LiveDify) -> Iterator[RunningServer]:
    with running_server(dify, GUNICORN_WORKERS="3") as server:
        yield server


@pytest.fixture
def proxy(server: RunningServer, dify: LiveDify) -> Iterator[CuttingProxy]:
    dify.asked.clear()
    with cutting_proxy(server.port) as proxy:
        yield proxy


class Gate:
    """A Dify that speaks when it may, and notes whether it was left."""

    def __init__(self, *events: bytes) -> None:
        self._events = events or (message("Hel"), message("lo"), END)
        self.is_open = threading.Event()
        self.was_left = False

    def __call__(self, wire: Wire) -> None:
        wire.head()
        while not self.is_open.is_set():
            if wire.hold(0.05):
                self.was_left = True
                return
        for each in self._events:
            wire.chunk(each)
        wire.end()


class Asking:
    """The SDK, which repeats by itself, on a thread of its own."""

    def __init__(self, proxy: CuttingProxy, text: str, *, headers: dict[str, str] | None = None) -> None:
        self._client = openai.OpenAI(base_url=proxy.base_url, api_key="any", timeout=60)
        self._text, self._headers = text, headers or {}

    def whole(self) -> "Future[ChatCompletion]":
        return _on_a_thread(self._whole)

    def streamed(self) -> "Future[list[str]]":
        return _on_a_thread(self._streamed)

    def _whole(self) -> ChatCompletion:
        return self._client.chat.completions.create(
            model=MODEL, messages=[{"role": "user", "content": self._text}], extra_headers=self._headers
        )

    def _streamed(self) -> list[str]:
        chunks = self._client.chat.completions.create(
            model=MODEL, messages=[{"role": "user", "content": self._text}], stream=True
        )
        return [chunk.choices[0].delta.content or "" for chunk in chunks]


def _on_a_thread(work: Callable[[], "_Result"]) -> "Future[_Result]":
    with_one = ThreadPoolExecutor(1)
    future = with_one.submit(work)
    with_one.shutdown(wait=False)
    return future


def cut_when_asked(proxy: CuttingProxy, dify: LiveDify, *, at_both_ends: bool) -> None:
    """Break the line once Dify was asked, and wait until the SDK has called again."""
    assert wait_until(lambda: dify.runs, SOON)
    proxy.lines[0].cut(at_both_ends=at_both_ends)
    assert wait_until(lambda: len(proxy.lines) == 2, SOON)


def swallowed(proxy: CuttingProxy) -> bytes:
    """What did not arrive over the first line."""
    return proxy.lines[0].swallowed if proxy.lines else b""


def worker_of(server: RunningServer, client_port: int) -> psutil.Process:
    """The process that serves the connection from this port."""

    def holders() -> list[psutil.Process]:
        return [
            worker
            for worker in server.program.workers()
            for each in worker.net_connections("tcp")
            # A listening socket has no other end.
            if getattr(each.raddr, "port", None) == client_port
        ]

    assert wait_until(holders, SOON)
    (worker,) = holders()
    return worker


def test_a_line_that_breaks_while_the_run_goes_on_costs_one_run(proxy: CuttingProxy, dify: LiveDify) -> None:
    dify.answer = gate = Gate()
    asking = Asking(proxy, "whole, cut at the client's end").whole()
    cut_when_asked(proxy, dify, at_both_ends=False)
    gate.is_open.set()

    assert asking.result(SOON).choices[0].message.content == "Hello"
    assert len(dify.runs) == 1
    assert not gate.was_left


def test_a_stream_that_breaks_before_it_began_costs_one_run(proxy: CuttingProxy, dify: LiveDify) -> None:
    dify.answer = gate = Gate()
    asking = Asking(proxy, "streamed, cut at the client's end").streamed()
    cut_when_asked(proxy, dify, at_both_ends=False)
    gate.is_open.set()

    assert "".join(asking.result(SOON)) == "Hello"
    assert len(dify.runs) == 1


def test_an_answer_that_was_lost_on_its_way_is_sent_again(server: RunningServer, dify: LiveDify) -> None:
    dify.asked.clear()
    dify.answer = gate = Gate()
    gate.is_open.set()
    with cutting_proxy(server.port, swallowing=1) as proxy:
        asking = Asking(proxy, "lost on its way").whole()
        assert wait_until(lambda: b'"Hello"' in swallowed(proxy), SOON)
        proxy.lines[0].cut(at_both_ends=True)

        answer = asking.result(SOON)

        assert answer.choices[0].message.content == "Hello"
        assert answer.id.encode() in swallowed(proxy)
    assert len(dify.runs) == 1


def test_a_run_that_was_stopped_when_the_line_broke_is_not_run_again(
    proxy: CuttingProxy, dify: LiveDify
) -> None:
    dify.answer = gate = Gate()
    asking = Asking(proxy, "cut at both ends").whole()
    cut_when_asked(proxy, dify, at_both_ends=True)

    with pytest.raises(openai.APIStatusError) as caught:
        asking.result(SOON)

    assert (caught.value.status_code, caught.value.code) == (499, "client_closed_request")
    assert len(proxy.lines) == 2, "the SDK takes no for an answer"
    assert len(dify.runs) == 1
    gate.is_open.set()


def test_a_failure_that_was_lost_on_its_way_is_sent_again(server: RunningServer, dify: LiveDify) -> None:
    dify.asked.clear()
    dify.answer = gate = Gate(event("error", code="completion_request_error", message="on fire"))
    gate.is_open.set()
    with cutting_proxy(server.port, swallowing=1) as proxy:
        asking = Asking(proxy, "a failure, lost on its way").whole()
        assert wait_until(lambda: b"on fire" in swallowed(proxy), SOON)
        proxy.lines[0].cut(at_both_ends=True)

        with pytest.raises(openai.InternalServerError, match="on fire"):
            asking.result(SOON)

        assert len(proxy.lines) == 2
    assert len(dify.runs) == 1


def test_what_could_not_begin_is_really_tried_again(proxy: CuttingProxy, dify: LiveDify) -> None:
    def refuse_first(wire: Wire) -> None:
        if len(dify.runs) == 1:
            wire.head(429, "application/json", Retry_After="1")
            wire.chunk(b'{"code":"too_many_requests","message":"no","status":429}')
            wire.end()
        else:
            gate(wire)

    gate = Gate()
    gate.is_open.set()
    dify.answer = refuse_first

    asking = Asking(proxy, "refused at first").whole()

    assert asking.result(SOON).choices[0].message.content == "Hello"
    assert len(dify.runs) == 2


def test_many_with_one_key_at_once_over_several_workers_cost_one_run(
    server: RunningServer, dify: LiveDify
) -> None:
    dify.asked.clear()
    dify.answer = gate = Gate()
    with cutting_proxy(server.port) as proxy:
        asking = [Asking(proxy, "at once", headers={"Idempotency-Key": "at-once"}).whole() for _ in range(9)]
        assert wait_until(lambda: len(proxy.lines) == len(asking), SOON)
        workers = {worker_of(server, line.server_side).pid for line in proxy.lines}
        assert wait_until(lambda: dify.runs, SOON)
        gate.is_open.set()
        answers = [each.result(SOON) for each in asking]

    assert len(workers) > 1
    assert {answer.choices[0].message.content for answer in answers} == {"Hello"}
    assert len({answer.id for answer in answers}) == 1
    assert len(dify.runs) == 1


def test_an_edited_request_under_the_same_key_is_refused(server: RunningServer, dify: LiveDify) -> None:
    dify.asked.clear()
    dify.answer = gate = Gate()
    gate.is_open.set()
    headers = {"Idempotency-Key": "edited"}
    answers = [
        httpx.post(
            f"{server.origin}{CHAT_PATH}", json=chat_shape(text, streams=False), headers=headers, timeout=SOON
        )
        for text in ("Hi", "Bye", "Hi")
    ]

    assert [answer.status_code for answer in answers] == [200, 400, 200]
    assert answers[0].json() == answers[2].json()
    assert len(dify.runs) == 1


def test_a_worker_that_is_killed_in_the_middle_leaves_no_second_run(
    proxy: CuttingProxy, server: RunningServer, dify: LiveDify
) -> None:
    dify.answer = gate = Gate()
    asking = Asking(proxy, "killed").whole()
    assert wait_until(lambda: dify.runs, SOON)

    worker_of(server, proxy.lines[0].server_side).kill()

    with pytest.raises(openai.InternalServerError) as caught:
        asking.result(60)
    assert caught.value.code == "repeat_refused"
    assert len(proxy.lines) == 2
    assert len(dify.runs) == 1
    gate.is_open.set()
