"""How connections to Dify are used: shared, held back, left, routed and trusted."""

import contextlib
import dataclasses
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
import trustme
from msgspec import structs

from opendify.dify.client import DifyClient
from opendify.dify.connections import ConnectionPool, Origin
from opendify.dify.events import EventStream
from opendify.dify.exchange import Head
from opendify.dify.sockets import SocketExchange
from opendify.errors import DifyUnreachable, GatewayError
from opendify.settings import DIFY_TRANSPORTS, DifyApp, DifyTransport
from opendify.translate.dify_request import DifyRequest
from tests.fakes.frames import END, IDS, PING, WHOLE, event, message
from tests.fakes.live_dify import LiveDify, Wire, live_dify, whole
from tests.fakes.settings import make_settings
from tests.fakes.waiting import NewThreads, run_threads, wait_until

_IDLE_SECONDS = 0.1

REQUEST = DifyRequest("/chat-messages", "/chat-messages/{task_id}/stop", {"query": "Hi", "user": "user-1"})


@pytest.fixture(params=DIFY_TRANSPORTS)
def live(request: pytest.FixtureRequest) -> Iterator[LiveDify]:
    with live_dify() as dify:
        dify.reached_by = request.param
        yield dify


@contextmanager
def client_of(dify: LiveDify, first_event_seconds: float = 5.0) -> Iterator[tuple[DifyClient, DifyApp]]:
    before = set(run_threads())
    settings = make_settings({"bot": {"api_key": "app-secret", "api_base": dify.base_url, "mode": "chat"}})
    settings = dataclasses.replace(
        settings, dify_first_event_timeout_seconds=first_event_seconds, dify_transport=dify.reached_by
    )
    client = DifyClient(settings)
    with closing(client):
        yield client, settings.models[0]
        assert wait_until(lambda: before.issuperset(run_threads())), "a connection is still in use"


def _run_to_its_end(client: DifyClient, app: DifyApp) -> None:
    stream = client.open_run(app, REQUEST)
    while stream.read(2.0) is not None:
        pass
    stream.close(whole=True)


def _read_until_events(stream: EventStream) -> None:
    while not stream.read(2.0):
        pass


def test_finished_runs_share_a_connection(live: LiveDify, new_run_threads: NewThreads) -> None:
    with client_of(live) as (client, app):
        for _ in range(5):
            _run_to_its_end(client, app)
            assert wait_until(lambda: not new_run_threads())

    assert len(live.runs) == 5
    assert live.connections == 1


def test_what_dify_says_after_the_end_passes_so_that_the_connection_can_be_used_again(
    live: LiveDify, new_run_threads: NewThreads
) -> None:
    go_on = threading.Event()

    def answer(wire: Wire) -> None:
        wire.head()
        wire.chunk(WHOLE)
        go_on.wait(2)
        wire.chunk(event("workflow_finished", data={}))
        wire.end()

    live.answer = answer
    with client_of(live) as (client, app):
        for _ in range(2):
            stream = client.open_run(app, REQUEST)
            _read_until_events(stream)
            stream.close(whole=True)
            go_on.set()
            assert wait_until(lambda: not new_run_threads())

    assert live.connections == 1
    assert live.stops == []


def test_a_dify_that_keeps_a_finished_stream_open_keeps_no_thread(
    live: LiveDify, new_run_threads: NewThreads
) -> None:
    def answer(wire: Wire) -> None:
        wire.head()
        wire.chunk(WHOLE)
        wire.hold(8)

    live.answer = answer
    with client_of(live) as (client, app):
        stream = client.open_run(app, REQUEST)
        _read_until_events(stream)
        stream.close(whole=True)

        assert wait_until(lambda: not new_run_threads(), 4.5), "a finished run is drained for 3 s at most"


def test_error_answers_leave_the_connection_usable(live: LiveDify, new_run_threads: NewThreads) -> None:
    def refuse(wire: Wire) -> None:
        wire.head(429, "application/json")
        wire.chunk(b'{"code": "too_many_requests", "message": "no"}')
        wire.end()

    live.answer = refuse
    with client_of(live) as (client, app):
        for _ in range(3):
            with pytest.raises(GatewayError):
                _run_to_its_end(client, app)
            assert wait_until(lambda: not new_run_threads())

    assert live.connections == 1


def test_a_client_that_does_not_read_holds_dify_back(live: LiveDify) -> None:
    sent = 0

    def flood(wire: Wire) -> None:
        nonlocal sent
        wire.head()
        frame = message("x" * 65_000)
        while sent < 200 << 20 and not live.stops:
            wire.chunk(frame)
            sent += len(frame)

    live.answer = flood
    with client_of(live) as (client, app):
        stream = client.open_run(app, REQUEST)
        _read_until_events(stream)
        assert wait_until(lambda: _is_still(lambda: sent)), "Dify was never held back"
        held = sent
        stream.close(whole=False)

    assert held < 32 << 20


def _is_still(amount: Callable[[], int]) -> bool:
    before = amount()
    threading.Event().wait(_IDLE_SECONDS)
    return bool(before) and amount() == before


def test_a_left_run_is_stopped_for_its_task_and_user_and_nothing_goes_on(
    live: LiveDify, new_run_threads: NewThreads
) -> None:
    left = []

    def answer(wire: Wire) -> None:
        wire.head()
        wire.chunk(message("Hel"))
        wire_left = wait_until(lambda: live.stops)
        wire.chunk(message("lo") + END)
        wire.end()
        left.append(wire_left)

    live.answer = answer
    with client_of(live) as (client, app):
        stream = client.open_run(app, REQUEST)
        _read_until_events(stream)
        stream.close(whole=False)

        assert wait_until(lambda: live.stops, 0.5), "within half a second"
        assert wait_until(lambda: not new_run_threads())
    (stop,) = live.stops
    assert stop.path == f"/v1/chat-messages/{IDS['task_id']}/stop"
    assert stop.body == {"user": "user-1"}
    assert stop.headers["Authorization"] == "Bearer app-secret"
    assert left == [True], "the stream was read on, so that Dify keeps what was said"


def test_a_run_left_before_its_task_is_known_is_stopped_once_it_is(
    live: LiveDify, new_run_threads: NewThreads
) -> None:
    was_left = threading.Event()

    def answer(wire: Wire) -> None:
        wire.head()
        wire.chunk(PING)
        was_left.wait(2)
        wire.chunk(message("Hel"))
        wait_until(lambda: live.stops)
        wire.end()

    live.answer = answer
    with client_of(live) as (client, app):
        stream = client.open_run(app, REQUEST)
        assert wait_until(lambda: not stream.read(0.01) and live.runs)
        stream.close(whole=False)
        was_left.set()

        assert wait_until(lambda: live.stops)
        assert wait_until(lambda: not new_run_threads())


def test_a_run_left_before_dify_answered_at_all_reads_nothing_for_ever(
    live: LiveDify, new_run_threads: NewThreads
) -> None:
    def answer(wire: Wire) -> None:
        wire.hold(0.3)
        wire.head()
        while not wire.hold(0.02):
            wire.chunk(PING)

    live.answer = answer
    with client_of(live, first_event_seconds=0.1) as (client, app):
        stream = client.open_run(app, REQUEST)
        stream.close(whole=False)

        assert wait_until(lambda: not new_run_threads())


def test_a_left_run_whose_stop_fails_ends_all_the_same(
    live: LiveDify, new_run_threads: NewThreads, caplog: pytest.LogCaptureFixture
) -> None:
    def answer(wire: Wire) -> None:
        wire.head()
        wire.chunk(message("Hel"))
        wait_until(lambda: live.stops)
        wire.end()

    live.answer = answer
    live.breaks_stops = True
    with client_of(live) as (client, app):
        stream = client.open_run(app, REQUEST)
        _read_until_events(stream)
        stream.close(whole=False)

        assert wait_until(lambda: not new_run_threads())
    assert "a run could not be stopped" in caplog.text


@contextmanager
def environment(monkeypatch: pytest.MonkeyPatch, **variables: str) -> Iterator[None]:
    with monkeypatch.context() as patch:
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
            patch.delenv(name, raising=False)
            patch.delenv(name.lower(), raising=False)
        for name, value in variables.items():
            patch.setenv(name, value)
        yield


@contextmanager
def forward_proxy() -> Iterator[tuple[str, list[bytes]]]:
    """A proxy for plain HTTP that answers everything itself; collects the request lines."""
    lines: list[bytes] = []
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        try:
            while True:
                connection, _ = listener.accept()
                with connection:
                    lines.append(connection.recv(65_536).split(b"\r\n")[0])
                    body = json.dumps({"via": "proxy"}).encode()
                    head = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: application/json\r\n"
                    connection.sendall(head + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        except OSError:
            return

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", lines
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


def test_a_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = make_settings()
    with (
        forward_proxy() as (url, lines),
        environment(monkeypatch, HTTP_PROXY=url),
        closing(DifyClient(settings)) as client,
    ):
        _, body = client.call(settings.models[0], "GET", "/info")

    assert body == {"via": "proxy"}
    assert lines == [b"GET http://dify.test/v1/info HTTP/1.1"]


def test_a_host_in_no_proxy_is_reached_directly(live: LiveDify, monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        forward_proxy() as (url, lines),
        environment(monkeypatch, HTTP_PROXY=url, NO_PROXY="127.0.0.1"),
        client_of(live) as (client, app),
    ):
        client.call(app, "GET", "/info")

    assert lines == []


def test_a_proxy_that_is_down_is_no_reason_to_call_dify_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = make_settings()
    with (
        environment(monkeypatch, HTTP_PROXY="http://127.0.0.1:9"),
        closing(DifyClient(settings)) as client,
        pytest.raises(DifyUnreachable),
    ):
        client.call(settings.models[0], "GET", "/info")


@contextmanager
def tls_dify(ca_file: Path, reached_by: DifyTransport) -> Iterator[LiveDify]:
    """Its certificate is from an authority that only `ca_file`, written here, knows."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(ca_file)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with live_dify(context) as dify:
        dify.reached_by = reached_by
        yield dify


@pytest.mark.parametrize("transport", DIFY_TRANSPORTS)
def test_a_model_s_ca_file_is_trusted_for_that_model_alone(
    tmp_path: Path, new_run_threads: NewThreads, transport: DifyTransport
) -> None:
    ca_file = tmp_path / "ca.pem"
    with tls_dify(ca_file, transport) as dify:
        dify.answer = whole
        with client_of(dify) as (client, stranger):
            friend = dataclasses.replace(stranger, ca_file=ca_file)
            _run_to_its_end(client, friend)
            with pytest.raises(DifyUnreachable):
                _run_to_its_end(client, stranger)
            _, about = client.call(friend, "GET", "/info")

    assert about == {"name": "live", "user_input_form": []}


@pytest.mark.parametrize("transport", DIFY_TRANSPORTS)
def test_a_left_run_over_tls_leaves_nothing(
    tmp_path: Path, new_run_threads: NewThreads, transport: DifyTransport
) -> None:
    ca_file = tmp_path / "ca.pem"

    def answer(wire: Wire) -> None:
        wire.head()
        wire.chunk(message("Hel"))
        wait_until(lambda: dify.stops)
        wire.chunk(END)
        wire.end()

    with tls_dify(ca_file, transport) as dify:
        dify.answer = answer
        with client_of(dify) as (client, stranger):
            stream = client.open_run(dataclasses.replace(stranger, ca_file=ca_file), REQUEST)
            _read_until_events(stream)
            stream.close(whole=False)
            assert wait_until(lambda: dify.stops)
            assert wait_until(lambda: not new_run_threads())


def test_a_run_goes_through_a_proxy_of_the_environment(
    live: LiveDify, monkeypatch: pytest.MonkeyPatch, new_run_threads: NewThreads
) -> None:
    with (
        forward_proxy() as (url, lines),
        environment(monkeypatch, HTTP_PROXY=url),
        client_of(live) as (client, app),
    ):
        with pytest.raises(GatewayError):
            _run_to_its_end(client, app)
        assert wait_until(lambda: not new_run_threads())

    assert lines == [f"POST {live.base_url}/chat-messages HTTP/1.1".encode()]
    assert live.runs == []


def test_a_connection_that_dify_closed_meanwhile_is_not_used(
    live: LiveDify, new_run_threads: NewThreads
) -> None:
    def answer(wire: Wire) -> None:
        whole(wire)
        wire.is_whole = False  # Closes without having said so.

    live.answer = answer
    with client_of(live) as (client, app):
        for _ in range(3):
            _run_to_its_end(client, app)
            assert wait_until(lambda: not new_run_threads())
            threading.Event().wait(_IDLE_SECONDS)

    assert live.connections == 3


def test_a_connection_that_idled_too_long_is_not_used(live: LiveDify, new_run_threads: NewThreads) -> None:
    with client_of(live) as (client, app):
        _run_to_its_end(client, app)
        assert wait_until(lambda: not new_run_threads())
        threading.Event().wait(1.7)
        _run_to_its_end(client, app)
        assert wait_until(lambda: not new_run_threads())

    assert live.connections == 2


def test_a_large_request_is_sent_whole_to_a_dify_that_reads_slowly(
    live: LiveDify, new_run_threads: NewThreads
) -> None:
    query = "x" * (8 << 20)
    with client_of(live) as (client, app):
        stream = client.open_run(app, structs.replace(REQUEST, body={**REQUEST.body, "query": query}))
        while stream.read(2.0) is not None:
            pass
        stream.close(whole=True)
        assert wait_until(lambda: not new_run_threads())

    assert live.runs[0].body["query"] == query


def test_a_client_that_leaves_ends_the_wait_at_once(live: LiveDify) -> None:
    live.reached_by = "sockets"
    live.answer = lambda wire: wire.hold(3)
    ours, theirs = socket.socketpair()
    with ours, theirs, client_of(live, first_event_seconds=0.4) as (client, app):
        stream = client.open_run(app, REQUEST, client_socket=ours.fileno())
        theirs.close()
        began_at = time.monotonic()
        assert stream.read(5.0) == []
        assert time.monotonic() - began_at < 0.3
        stream.close(whole=False)


def test_an_early_refusal_is_heard_while_the_request_is_still_going_out(
    live: LiveDify, new_run_threads: NewThreads
) -> None:
    live.reached_by = "sockets"
    with refusing_server() as port, client_of(live) as (client, app):
        app = dataclasses.replace(app, api_base=f"http://127.0.0.1:{port}/v1")
        body = {**REQUEST.body, "query": "x" * (32 << 20)}
        with pytest.raises(GatewayError) as caught:
            _read_until_events(client.open_run(app, structs.replace(REQUEST, body=body)))

    assert caught.value.status == 413


@contextmanager
def refusing_server() -> Iterator[int]:
    """Answers 413 to the head alone, and neither reads on nor closes."""
    listener = socket.create_server(("127.0.0.1", 0))
    kept: list[socket.socket] = []

    def serve() -> None:
        connection, _ = listener.accept()
        kept.append(connection)
        connection.recv(1024)
        connection.sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        thread.join(5)
        for connection in [*kept, listener]:
            connection.close()


@contextmanager
def deaf_server() -> Iterator[tuple[int, Callable[[], list[bytes]]]]:
    """Lets connections hang until it is asked what came over them."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(0)
    fillers = [socket.socket() for _ in range(3)]
    for filler in fillers:
        filler.setblocking(False)
        filler.connect_ex(listener.getsockname())

    def received() -> list[bytes]:
        for filler in fillers:
            filler.close()
        listener.settimeout(1.5)
        came: list[bytes] = []
        while True:
            try:
                connection, _ = listener.accept()
            except TimeoutError:
                return [piece for piece in came if piece]
            connection.settimeout(0.3)
            with connection, contextlib.suppress(OSError):
                came.append(connection.recv(1024))

    with listener:
        yield listener.getsockname()[1], received
    for filler in fillers:
        filler.close()


def test_a_run_that_was_left_while_connecting_is_never_posted(live: LiveDify) -> None:
    live.reached_by = "sockets"
    with deaf_server() as (port, received), client_of(live) as (client, app):
        stream = client.open_run(dataclasses.replace(app, api_base=f"http://127.0.0.1:{port}/v1"), REQUEST)
        assert stream.read(0.1) == []
        over: list[bool] = []

        stream.close(whole=False, on_over=lambda: over.append(True))

        assert over == [True]
        assert received() == []


def test_an_address_that_says_nothing_leaves_time_for_the_others(live: LiveDify) -> None:
    port = int(live.base_url.split(":")[2].split("/")[0])

    with deaf_server() as (deaf_port, _):
        pool = ConnectionPool(
            idle_seconds=1,
            connect_seconds=1.0,
            look_up=lambda _: [
                (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", each)) for each in (deaf_port, port)
            ],
        )
        request = b"GET /v1/info HTTP/1.1\r\nHost: dify\r\n\r\n"
        exchange = SocketExchange(pool, Origin("dify.test", 80), request)
        (head, *_) = exchange.take(5)
        exchange.abort()
        pool.close()

    assert isinstance(head, Head)
    assert head.status == 200
