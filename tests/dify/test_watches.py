"""How a stream waits for Dify and for its client at once: in `poll`, and in gevent's loop."""

import select
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field

import gevent
import pytest
from gevent import get_hub

from opendify.dify.connections import ConnectionPool, Origin
from opendify.dify.exchange import Head
from opendify.dify.loop_watch import LoopWatch
from opendify.dify.sockets import SocketExchange
from opendify.dify.watches import MakeWatch, PolledWatch, Watch
from tests.fakes.frames import WHOLE
from tests.fakes.live_dify import Wire, live_dify

_LONG_SECONDS = 20.0
_SOON_SECONDS = 5.0


@dataclass
class Stand:
    """Both connections, each with its far end."""

    make_watch: MakeWatch
    ends: ExitStack = field(default_factory=ExitStack)

    def __post_init__(self) -> None:
        self.dify, self.far_dify = self.pair()
        self.client, self.far_client = self.pair()
        self.watch: Watch = self.make_watch(self.client.fileno())
        self.watch.watch(self.dify.fileno(), select.POLLIN)

    def pair(self) -> tuple[socket.socket, socket.socket]:
        near, far = socket.socketpair()
        return self.ends.enter_context(near), self.ends.enter_context(far)

    def wait(self, seconds: float = _LONG_SECONDS) -> tuple[bool, float]:
        """What `wait` says, and how long it took."""
        began_at = time.monotonic()
        return self.watch.wait(seconds), time.monotonic() - began_at

    def close(self) -> None:
        self.watch.forget_client()
        self.watch.unwatch()
        self.ends.close()


@pytest.fixture(params=[PolledWatch, LoopWatch])
def stand(request: pytest.FixtureRequest) -> Iterator[Stand]:
    with closing(Stand(request.param)) as stand:
        yield stand


@pytest.fixture
def in_loop() -> Iterator[Stand]:
    with closing(Stand(LoopWatch)) as stand:
        yield stand


def test_what_dify_says_ends_the_wait(stand: Stand) -> None:
    stand.far_dify.send(b"Hi")

    is_ready, seconds = stand.wait()

    assert is_ready
    assert seconds < _SOON_SECONDS


def test_what_was_not_read_ends_the_next_wait_too(stand: Stand) -> None:
    stand.far_dify.send(b"Hi")

    assert [stand.wait()[0], stand.wait()[0], stand.watch.wait(0)] == [True, True, True]


@pytest.mark.parametrize("leave", [socket.socket.close, lambda far: far.shutdown(socket.SHUT_WR)])
def test_dify_s_leaving_ends_the_wait(stand: Stand, leave: Callable[[socket.socket], None]) -> None:
    leave(stand.far_dify)

    assert stand.wait()[0]


@pytest.mark.parametrize("leave", [socket.socket.close, lambda far: far.shutdown(socket.SHUT_WR)])
def test_the_client_s_leaving_ends_the_wait_with_nothing_to_read(
    stand: Stand, leave: Callable[[socket.socket], None]
) -> None:
    leave(stand.far_client)

    is_ready, seconds = stand.wait()

    assert not is_ready
    assert seconds < _SOON_SECONDS


def test_a_client_that_is_forgotten_ends_no_wait(stand: Stand) -> None:
    stand.watch.forget_client()
    stand.watch.forget_client()
    stand.far_client.close()

    is_ready, seconds = stand.wait(0.1)

    assert not is_ready
    assert seconds >= 0.1


def test_silence_lasts_as_long_as_was_asked(stand: Stand) -> None:
    is_ready, seconds = stand.wait(0.1)

    assert not is_ready
    assert 0.1 <= seconds < _SOON_SECONDS


def test_without_time_it_only_looks(stand: Stand) -> None:
    assert not stand.watch.wait(0)
    assert not stand.watch.wait(-1)


def test_room_to_write_can_be_waited_for(stand: Stand) -> None:
    stand.watch.watch(stand.dify.fileno(), select.POLLIN | select.POLLOUT)

    assert stand.wait()[0]


def test_a_connection_with_the_number_of_one_before_is_another(stand: Stand) -> None:
    stand.far_dify.send(b"Hi")
    assert stand.wait()[0]
    number = stand.dify.fileno()
    stand.watch.unwatch()
    stand.dify.close()
    following, far = stand.pair()
    assert following.fileno() == number

    stand.watch.watch(number, select.POLLIN)
    assert not stand.wait(0.05)[0]
    far.send(b"Hi")

    assert stand.wait()[0]


def test_while_one_waits_in_the_loop_others_work(in_loop: Stand) -> None:
    gevent.spawn_later(0.05, in_loop.far_dify.send, b"Hi")

    is_ready, seconds = in_loop.wait()

    assert is_ready
    assert seconds < _SOON_SECONDS


def test_a_client_that_leaves_in_the_middle_of_a_wait_ends_it(in_loop: Stand) -> None:
    gevent.spawn_later(0.05, in_loop.far_client.close)

    is_ready, seconds = in_loop.wait()

    assert not is_ready
    assert seconds < _SOON_SECONDS


def test_a_client_that_left_between_two_waits_ends_the_next_one_once(in_loop: Stand) -> None:
    in_loop.far_client.close()
    gevent.sleep(0.02)

    _, first = in_loop.wait()
    _, second = in_loop.wait(0.1)

    assert first < _SOON_SECONDS
    assert second >= 0.1


def test_a_client_that_asks_on_is_looked_at_once(in_loop: Stand) -> None:
    in_loop.far_client.send(b"POST")
    assert not in_loop.wait()[0]
    gevent.spawn_later(0.05, in_loop.far_dify.send, b"Hi")

    assert in_loop.wait()[0]


def test_what_nobody_waits_for_does_not_turn_the_loop(in_loop: Stand) -> None:
    in_loop.far_dify.send(b"Hi")
    assert in_loop.wait()[0]
    in_loop.far_dify.send(b"more")
    in_loop.far_client.close()
    before = get_hub().loop.iteration

    gevent.sleep(0.2)

    assert get_hub().loop.iteration - before < 20
    assert [in_loop.wait()[0], in_loop.wait()[0]] == [False, True]


def test_a_shorter_wait_after_a_longer_one_ends_in_time(in_loop: Stand) -> None:
    in_loop.far_dify.send(b"Hi")
    assert in_loop.wait(_LONG_SECONDS)[0]
    in_loop.dify.recv(9)

    is_ready, seconds = in_loop.wait(0.1)

    assert not is_ready
    assert 0.1 <= seconds < _SOON_SECONDS


def test_a_longer_wait_after_a_shorter_one_is_not_cut_short(in_loop: Stand) -> None:
    in_loop.far_dify.send(b"Hi")
    assert in_loop.wait(0.05)[0]
    in_loop.dify.recv(9)

    is_ready, seconds = in_loop.wait(0.2)

    assert not is_ready
    assert seconds >= 0.2


def test_who_is_killed_while_waiting_is_not_woken_any_more(in_loop: Stand) -> None:
    waiting = gevent.spawn(in_loop.watch.wait, _LONG_SECONDS)
    gevent.sleep(0.02)
    waiting.kill(timeout=_SOON_SECONDS)
    in_loop.far_dify.send(b"Hi")
    gevent.sleep(0.02)

    assert waiting.ready()
    assert in_loop.wait()[0]


def test_a_time_limit_around_a_wait_ends_it(in_loop: Stand) -> None:
    with pytest.raises(gevent.Timeout), gevent.Timeout(0.05):
        in_loop.wait()

    in_loop.far_dify.send(b"Hi")
    assert in_loop.wait()[0]


def test_a_hundred_streams_wait_for_themselves_alone() -> None:
    with ExitStack() as stands:
        all_of_them = [stands.enter_context(closing(Stand(LoopWatch))) for _ in range(100)]
        waiting = [gevent.spawn(stand.watch.wait, _LONG_SECONDS) for stand in all_of_them]
        gevent.sleep(0)
        for stand in all_of_them[::2]:
            stand.far_dify.send(b"Hi")
        for stand in all_of_them[1::2]:
            stand.far_client.close()
        gevent.joinall(waiting, timeout=_LONG_SECONDS)

        assert [each.value for each in waiting] == [True, False] * 50


def test_an_exchange_goes_through_the_loop() -> None:
    def answer(wire: Wire) -> None:
        wire.head()
        wire.chunk(WHOLE)
        wire.end()

    with live_dify() as dify, closing(ConnectionPool(idle_seconds=1, connect_seconds=5)) as pool:
        dify.answer = answer
        port = int(dify.base_url.split(":")[2].split("/")[0])
        request = b"POST /v1/chat-messages HTTP/1.1\r\nHost: dify\r\nContent-Length: 0\r\n\r\n"
        for _ in range(2):
            exchange = SocketExchange(pool, Origin("127.0.0.1", port), request, LoopWatch(-1))
            arrivals = []
            while None not in arrivals:
                arrivals += exchange.take(_SOON_SECONDS)
            assert isinstance(arrivals[0], Head)
            assert arrivals[1:] == [WHOLE, None]
