"""Faults of the connection, on request: cut streams, foreign pages, silence, broken frames.

They are asked for by words in the question, and act on what a healthy run sends.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from opendify.simulator.errors import DifyError
from opendify.simulator.json_text import PING, event_frame
from opendify.simulator.turns import PING as PING_EVENT
from opendify.simulator.turns import World
from opendify.simulator.words import SteeringWords

Json = dict[str, object]

HTML_PAGE = "<!doctype html><html><head><title>Dify</title></head><body>Sign in</body></html>\n"
_NGINX = (
    "<html>\r\n<head><title>{0}</title></head>\r\n<body>\r\n<center><h1>{0}</h1></center>\r\n"
    "<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n"
)
_NGINX_REASONS = {
    413: "413 Request Entity Too Large",
    502: "502 Bad Gateway",
    503: "503 Service Temporarily Unavailable",
    504: "504 Gateway Time-out",
}
_DIFY_CODES = {
    400: ("invalid_param", "Simulated bad request."),
    401: ("unauthorized", "Access token is invalid"),
    403: ("forbidden", "The app's API service has been disabled."),
    404: ("not_found", "Conversation Not Exists."),
    429: ("rate_limit_error", "Rate limit exceeded, please upgrade your plan or try again later."),
}
_INTERNAL = (
    "internal_server_error",
    "The server encountered an internal error and was unable to complete your request. "
    "Either the server is overloaded or there is an error in the application.",
)


class ConnectionCutError(ConnectionError):
    """The simulator closes the connection in the middle of a body, without its last chunk."""


def refusal(words: SteeringWords) -> DifyError | str | None:
    """What `STATUS:nnn` or `HTML` answers in place of a run: an error, or a page."""
    if "HTML" in words:
        return HTML_PAGE
    if "STATUS" not in words:
        return None
    status = words.count("STATUS", 500)
    if status in _NGINX_REASONS:
        return _NGINX.format(_NGINX_REASONS[status])
    code, message = _DIFY_CODES.get(status, _INTERNAL)
    return DifyError(status, code, message)


def write_frames(
    stream: Iterator[Json], words: SteeringWords, world: World, cut: Callable[[], None]
) -> Iterator[bytes]:
    """The bytes of a stream, with the faults that `words` ask for.

    `cut` closes the connection under the response.
    """
    compact = world.quirks.compact_events
    if "HANG" in words:
        world.stay_silent(world.options.silence_seconds)
        return
    if "PINGONLY" in words:
        yield from _only_pings(world)
        return
    yield from _whole_or_cut(stream, words, cut, compact=compact)


def break_body(
    body: bytes, words: SteeringWords, world: World, cut: Callable[[], None]
) -> Iterator[bytes] | None:
    """What is sent in place of a blocking answer's whole `body`, or `None`."""
    if "HANG" in words:
        return _nothing(world)
    if "DROP" in words:
        return _cut_body(body, cut)
    return iter([body[: len(body) // 2]]) if "BADJSON" in words else None


def ping_and_silence(world: World) -> Iterator[bytes]:
    """The blocking chatflow of 1.13.0."""
    yield PING
    world.stay_silent(world.options.silence_seconds)


def _nothing(world: World) -> Iterator[bytes]:
    world.stay_silent(world.options.silence_seconds)
    yield b""


def _cut_body(body: bytes, cut: Callable[[], None]) -> Iterator[bytes]:
    yield body[: len(body) // 2]
    cut()
    raise ConnectionCutError("cut on request")


def _whole_or_cut(
    stream: Iterator[Json], words: SteeringWords, cut: Callable[[], None], *, compact: bool
) -> Iterator[bytes]:
    sent = 0
    for event in stream:
        if event is PING_EVENT:
            yield PING
            continue
        if "DROP" in words and sent >= words.count("DROP"):
            cut()
            raise ConnectionCutError("cut on request")
        if "EOF" in words and sent >= words.count("EOF"):
            return
        yield event_frame(event, compact=compact)
        sent += 1
        if sent == 1:
            yield from _strange_frames(event, words, compact=compact)


def _strange_frames(event: Json, words: SteeringWords, *, compact: bool) -> Iterator[bytes]:
    if "BADJSON" in words:
        yield b'data: {"event": "message", "answer": "cut of\n\n'
    if "UNKNOWNEVENT" in words:
        strange = event | {"event": "event_of_tomorrow", "payload": {"deep": [1, 2, None]}}
        yield event_frame(strange, compact=compact)


def _only_pings(world: World) -> Iterator[bytes]:
    left = world.options.silence_seconds
    while left > 0:
        world.sleep(min(left, world.options.ping_seconds))
        left -= world.options.ping_seconds
        yield PING
