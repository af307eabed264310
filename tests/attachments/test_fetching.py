"""Fetching files by their URLs, from where it is allowed, and no further."""

import socket
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import httpcore
import pytest

from opendify.attachments.fetching import Fetcher, FetchLimits
from opendify.attachments.local_files import LocalFile, RemoteFile
from opendify.errors import ClientLeftEarly, FileNotFetched, GatewayError, InvalidRequest
from opendify.records import Clock
from tests.fakes.clocks import FakeClock
from tests.fakes.files import PNG

PUBLIC = "93.184.216.34"
LIMITS = FetchLimits(most_bytes=2_000_000, seconds=20)
Answer = Callable[[BaseHTTPRequestHandler], None]


class Rerouted(httpcore.NetworkBackend):
    """Every address leads to one server of the test; which were asked for is noted."""

    def __init__(self, port: int) -> None:
        self.connected: list[str] = []
        self.unreachable = ""
        self._port = port

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        self.connected.append(host)
        if host == self.unreachable:
            raise httpcore.ConnectError
        return httpcore.SyncBackend().connect_tcp("127.0.0.1", self._port, timeout)


@dataclass
class Web:
    """A server, the names that lead to it, and how it answers each path."""

    backend: Rerouted
    answers: dict[str, Answer] = field(default_factory=dict)
    addresses: dict[str, list[list[str]]] = field(default_factory=dict)
    heard: list[tuple[str, str]] = field(default_factory=list)

    def look_up(self, host: str, port: int) -> list[str]:
        """A name whose answers run out keeps its last; one without any is public."""
        answers = self.addresses.get(host, [[PUBLIC]])
        return answers.pop(0) if len(answers) > 1 else answers[0]

    def fetch(
        self,
        url: str,
        limits: FetchLimits = LIMITS,
        while_waiting: Callable[[], None] = lambda: None,
        clock: Clock = time.monotonic,
    ) -> LocalFile:
        fetcher = Fetcher(look_up=self.look_up, backend=self.backend, clock=clock)
        return fetcher.fetch(RemoteFile("image", "a.png", "p", url), limits, while_waiting)

    def refusal(self, url: str, limits: FetchLimits = LIMITS) -> GatewayError:
        with pytest.raises(InvalidRequest) as caught:
            self.fetch(url, limits)
        assert caught.value.param == "p"
        return caught.value


@pytest.fixture
def web() -> Iterator[Web]:
    made: list[Web] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            made[0].heard.append((self.headers["Host"], self.path))
            made[0].answers.get(self.path, picture())(self)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - The library's name.
            return

    with served(Handler) as port:
        made.append(Web(Rerouted(port)))
        yield made[0]


@contextmanager
def served(handler: type[BaseHTTPRequestHandler]) -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def answer(status: int, body: bytes = b"", **headers: str) -> Answer:
    def write(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in {"Content_Length": str(len(body)), **headers}.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(body)

    return write


def picture() -> Answer:
    return answer(200, PNG, Content_Type="image/png; q=1")


def redirect(location: str) -> Answer:
    return answer(302, Location=location)


def endless(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.send_header("Connection", "close")
    handler.end_headers()
    try:
        while True:
            handler.wfile.write(bytes(65_536))
    except OSError:
        handler.close_connection = True


def silent(handler: BaseHTTPRequestHandler) -> None:
    handler.connection.recv(1, socket.MSG_WAITALL)


def test_a_file_comes_with_its_media_type_and_can_be_read_again(web: Web) -> None:
    file = web.fetch("http://pics.test/a.png?sig=1#x")

    assert (file.mime_type, file.bytes, file.filename) == ("image/png", len(PNG), "a.png")
    for _ in range(2):
        with closing(file.open()) as content:
            assert content.read(1_000_000) == PNG
    assert web.heard == [("pics.test", "/a.png?sig=1")]


def test_a_redirect_is_followed_to_another_public_place(web: Web) -> None:
    web.answers["/old"] = redirect("http://other.test/new")

    assert web.fetch("http://pics.test/old").bytes == len(PNG)
    assert web.heard == [("pics.test", "/old"), ("other.test", "/new")]


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/a.png",
        "http://[::1]/a.png",
        "http://[::ffff:169.254.169.254]/",
        "http://169.254.169.254/latest/meta-data/",
        "http://0.0.0.0/",
        "http://2130706433/",
        "http://localhost/",
    ],
)
def test_a_private_address_is_never_connected_to(url: str) -> None:
    backend = Rerouted(9)

    with pytest.raises(InvalidRequest, match="not in the open internet") as caught:
        Fetcher(backend=backend).fetch(RemoteFile("image", "a", "p", url), LIMITS, lambda: None)

    assert (caught.value.status, caught.value.code) == (400, "file_not_fetched")
    assert backend.connected == []


@pytest.mark.parametrize("host", ["a" * 64 + ".test", "a..test", ".test", "xn--", "%00"])
def test_a_host_that_cannot_be_is_refused(host: str) -> None:
    file = RemoteFile("image", "a", "p", f"http://{host}/")

    with pytest.raises(FileNotFetched):
        Fetcher(backend=Rerouted(9)).fetch(file, LIMITS, lambda: None)


def test_one_private_address_among_public_ones_is_enough(web: Web) -> None:
    web.addresses["mixed.test"] = [[PUBLIC, "10.0.0.1"]]

    assert "not in the open internet" in web.refusal("http://mixed.test/").message


def test_the_next_address_is_taken_where_one_cannot_be_reached(web: Web) -> None:
    unreachable = "2606:2800:220:1::1"
    web.addresses["both.test"] = [[unreachable, PUBLIC]]
    web.backend.unreachable = unreachable

    assert web.fetch("http://both.test/").bytes == len(PNG)
    assert web.backend.connected == [unreachable, PUBLIC]


def test_a_dns_answer_that_changes_changes_nothing(web: Web) -> None:
    web.addresses["rebinding.test"] = [[PUBLIC], ["127.0.0.1"]]

    web.fetch("http://rebinding.test/a.png")

    assert web.backend.connected == [PUBLIC], "what was looked at, and not looked up again"


@pytest.mark.parametrize(
    "location", ["http://127.0.0.1/", "http://inner.test/", "//169.254.169.254/", "http://[::1]/"]
)
def test_a_redirect_into_a_private_network_is_refused(web: Web, location: str) -> None:
    web.addresses |= {"inner.test": [["192.168.0.1"]]}
    web.addresses |= {host: [[host]] for host in ("127.0.0.1", "169.254.169.254", "::1")}
    web.answers["/"] = redirect(location)

    assert "not in the open internet" in web.refusal("http://pics.test/").message
    assert web.backend.connected == [PUBLIC]


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("ftp://pics.test/a", "only http and https"),
        ("file:///etc/passwd", "only http and https"),
        ("http://user:secret@pics.test/", "a user name"),
        ("http://pics.test:6379/", "only the ports 80 and 443"),
        ("http://pics.test:port/", "no URL"),
    ],
)
@pytest.mark.parametrize("is_redirect", [False, True], ids=["asked for", "led to"])
def test_other_urls_are_not_fetched(web: Web, url: str, reason: str, is_redirect: bool) -> None:
    web.answers["/"] = redirect(url)

    error = web.refusal("http://pics.test/" if is_redirect else url)

    assert reason in error.message
    assert "secret" not in error.message


def test_a_circle_of_redirects_ends(web: Web) -> None:
    web.answers["/"] = redirect("/")

    assert "leads on too often" in web.refusal("http://pics.test/").message
    assert len(web.heard) == 4


@pytest.mark.parametrize(
    ("broken", "status", "reason"),
    [
        (answer(404), 400, "status 404"),
        (answer(206, PNG), 400, "status 206"),
        (answer(200), 400, "empty"),
        (answer(302), 400, "too often"),
        (answer(200, PNG, Content_Encoding="gzip"), 400, "compressed"),
        (answer(200, b"", Content_Length="3000000"), 413, "more than 2000000 bytes"),
        (endless, 413, "more than 2000000 bytes"),
    ],
    ids=[
        "missing",
        "a part",
        "empty",
        "a redirect to nowhere",
        "compressed",
        "too large",
        "endless",
    ],
)
def test_what_is_no_file_is_refused(web: Web, broken: Answer, status: int, reason: str) -> None:
    web.answers["/"] = broken

    error = web.refusal("http://pics.test/")

    assert error.status == status
    assert reason in error.message


def test_a_large_file_comes_whole(web: Web) -> None:
    content = bytes(range(256)) * 6_000
    web.answers["/"] = answer(200, content)

    with closing(web.fetch("http://pics.test/").open()) as read:
        assert read.read(len(content) + 1) == content


def test_a_silent_server_is_given_up_in_time(web: Web) -> None:
    web.answers["/"] = silent
    clock = FakeClock()

    with pytest.raises(InvalidRequest, match="took too long"):
        web.fetch("http://pics.test/", while_waiting=lambda: clock.advance(5), clock=clock)


def test_a_client_that_leaves_ends_the_waiting(web: Web) -> None:
    web.answers["/"] = silent
    looked_up: list[None] = []

    def leave() -> None:
        looked_up.append(None)
        if len(looked_up) > 3:
            raise ClientLeftEarly("gone")

    with pytest.raises(ClientLeftEarly):
        web.fetch("http://pics.test/", while_waiting=leave)
