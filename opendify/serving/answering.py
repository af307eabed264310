"""Gunicorn's side of WSGI for requests that are there as a whole: their environment, and their answer.

As Gunicorn's own, which does more for each request and for each of its headers.
"""

import functools
import io
import re
import time
from collections.abc import Callable, Iterable
from email.utils import formatdate
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, cast

from gunicorn.config import Config
from gunicorn.http import wsgi
from gunicorn.http.errors import ConfigurationProblem
from gunicorn.http.message import Request
from gunicorn.util import hop_headers, unquote_to_wsgi_str

from opendify.serving.plain_request import PlainRequest
from opendify.settings.loading import gunicorn_script_name

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

BODY: Final = "opendify.body"
"""Where the environment holds a body that was received as a whole, as bytes."""

# No line end in a line, no blanks at either end of a value.
_PLAIN_LINES: Final = re.compile(
    r"(?:[!#$%&'*+\-.^`|~0-9A-Za-z]+: (?![ \t])[\t\x20-\x7e\x80-\xff]*(?<![ \t])\r\n)*"
)
_LENGTH: Final = re.compile("[0-9]{1,18}")
# A length by any other name is looked at by Gunicorn, and the others are the server's to say.
_UNUSUAL: Final = frozenset({"content-length", *map(str.lower, hop_headers)})
_STATUS: Final = re.compile(r"[0-9]{3} [\x20-\x7e]*")
_WITHOUT_BODY: Final = frozenset({HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED})
# Headers that are something else in WSGI's environment; the last comes from trusted proxies only.
_PLACES: Final = {
    "CONTENT-TYPE": "CONTENT_TYPE",
    "CONTENT-LENGTH": "CONTENT_LENGTH",
    "SCRIPT_NAME": "SCRIPT_NAME",
}
_LAST_CHUNK: Final = b"0\r\n\r\n"


@functools.lru_cache(maxsize=4)
def cached(cfg: Config) -> Config:
    """`cfg`, each of whose settings is looked up once: only for those that never change."""
    # It answers to every name that the other one does.
    return cast("Config", _CachedConfig(cfg))


class _CachedConfig:
    def __init__(self, cfg: Config) -> None:
        self._cfg = cfg

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._cfg, name)
        setattr(self, name, value)
        return value


def connection_environ(
    cfg: Config, sock: object, client: tuple[str, int] | str, server: tuple[str, int] | str
) -> "WSGIEnvironment | None":
    """What the environments of all requests on a connection share.

    None for a Unix socket: it has no addresses, and Gunicorn its own way to make some up.
    """
    if isinstance(client, str) or isinstance(server, str):
        return None
    return {
        **wsgi.base_environ(cfg),
        "wsgi.multithread": True,
        "wsgi.url_scheme": "http",
        "gunicorn.socket": sock,
        "REMOTE_ADDR": client[0],
        "REMOTE_PORT": str(client[1]),
        "SERVER_NAME": server[0],
        "SERVER_PORT": str(server[1]),
        "SCRIPT_NAME": gunicorn_script_name(),
    }


def request_environ(shared: "WSGIEnvironment", request: Request, body: bytes) -> "WSGIEnvironment":
    """The environment of a request on the connection with what is `shared`."""
    major, minor = request.version or (1, 1)
    environ = {
        **shared,
        BODY: body,
        "wsgi.input": io.BytesIO(body),
        "REQUEST_METHOD": request.method,
        "QUERY_STRING": request.query,
        "RAW_URI": request.uri,
        "SERVER_PROTOCOL": f"HTTP/{major}.{minor}",
        "PATH_INFO": unquote_to_wsgi_str(request.path or ""),
    }
    if request.scheme != "http":
        environ["wsgi.url_scheme"] = request.scheme
    if isinstance(request, PlainRequest):
        environ.update(zip(map(_place, request.fields), request.fields.values(), strict=True))
    else:
        _add_headers(environ, request.headers)
    if environ["SCRIPT_NAME"]:
        _mount(environ)
    return environ


def _add_headers(environ: "WSGIEnvironment", headers: Iterable[tuple[str, str]]) -> None:
    """Those of one name are joined, but for the three that are something else."""
    for name, value in headers:
        key = _place(name)
        is_another = key in environ and key not in _PLACES.values()
        environ[key] = f"{environ[key]},{value}" if is_another else value


@functools.lru_cache(maxsize=512)
def _place(name: str) -> str:
    """Where a header so called, in upper case, stands in WSGI's environment."""
    return _PLACES.get(name) or f"HTTP_{name.replace('-', '_')}"


def _mount(environ: "WSGIEnvironment") -> None:
    """Take the path of the proxy that stands before the app off the request's."""
    name, path = environ["SCRIPT_NAME"], environ["PATH_INFO"]
    if not path.startswith(name):
        raise ConfigurationProblem(f"Request path {path!r} does not start with SCRIPT_NAME {name!r}")
    environ["PATH_INFO"] = path[len(name) :]


class PlainAnswer(wsgi.Response):
    """An answer whose head leaves together with the first piece of its body.

    Heads that hold nothing unusual are looked at in one go; Gunicorn's own code looks at all others.
    """

    _lines = ""
    _unsent = b""

    def start_response(  # type: ignore[override] # Apps give a list.
        self, status: str, headers: list[tuple[str, str]], exc_info: Any = None
    ) -> Callable[[bytes], None]:
        """As in the base class."""
        lines, code = "\r\n".join([*map(": ".join, headers), ""]), _code_of_plain(status)
        fields = dict(headers)
        length = fields.pop("Content-Length", None)
        is_plain = (
            code is not None
            and (length is None or _LENGTH.fullmatch(length))
            and _UNUSUAL.isdisjoint(map(str.lower, fields))
            and _PLAIN_LINES.fullmatch(lines)
            # A value with a line end in it would be two lines.
            and lines.count("\r\n") == len(headers)
        )
        if not is_plain or self.status is not None or self.req.method == "HEAD":
            self._lines = ""
            return super().start_response(status, headers, exc_info)
        self.status, self.status_code = status, code
        self.headers, self._lines = list(headers), lines
        if length is not None:
            self.response_length = int(length)
        self.chunked = self.is_chunked()
        return self.write

    def send_headers(self) -> None:
        """Have them leave with what is written next."""
        if self.headers_sent:
            return
        lines = self._lines or "\r\n".join([*map(": ".join, self.headers), ""])
        self._unsent = f"{self._first_lines()}{lines}\r\n".encode("latin-1")
        self.headers_sent = True

    def _first_lines(self) -> str:
        """The server's own."""
        if self.upgrade:
            return "".join(self.default_headers())
        major, minor = self.req.version or (1, 1)
        first = f"{major}.{minor} {self.status}\r\nServer: {self.version}"
        return _first_lines(first, int(time.time()), self.should_close(), self.chunked)

    def sendfile(self, respiter: wsgi.FileWrapper) -> bool:  # noqa: ARG002 - The base's signature.
        """Never: the socket does not block, and all goes through `write`."""
        return False

    def close(self) -> None:
        """As in the base class."""
        self.send_headers()
        self._send(_LAST_CHUNK if self.chunked else b"")

    def write_all(self, pieces: Iterable[bytes]) -> None:
        """The whole answer, to its end; `pieces` are closed."""
        try:
            if isinstance(pieces, wsgi.FileWrapper):
                self.write_file(pieces)
            else:
                for piece in pieces:
                    self.write(piece)
            self.close()
        finally:
            close = getattr(pieces, "close", None)
            if close:
                close()

    def write(self, arg: bytes) -> None:
        """As in the base class, which looks at each piece of a stream for what streams do not have."""
        if not (self.chunked and arg):
            super().write(arg)
            return
        self.send_headers()
        self.sent += len(arg)
        self._send(b"%X\r\n%b\r\n" % (len(arg), arg))

    def _emit_body(self, data: bytes) -> None:
        self._send(b"%X\r\n%b\r\n" % (len(data), data) if self.chunked else data)

    def _send(self, data: bytes) -> None:
        unsent, self._unsent = self._unsent, b""
        if unsent or data:
            self.sock.sendall(unsent + data)


@functools.lru_cache(maxsize=64)
def _code_of_plain(status: str) -> int | None:
    """That of a status that brings a body; None of all others."""
    code = int(status[:3]) if _STATUS.fullmatch(status) else 0
    return code if code >= HTTPStatus.OK and code not in _WITHOUT_BODY else None


@functools.lru_cache(maxsize=64)
def _first_lines(version_to_server: str, now: int, is_last: bool, is_chunked: bool, /) -> str:
    """As Gunicorn writes them, once a second for each kind of answer."""
    framing = "Transfer-Encoding: chunked\r\n" if is_chunked else ""
    date, connection = formatdate(now, usegmt=True), "close" if is_last else "keep-alive"
    return f"HTTP/{version_to_server}\r\nDate: {date}\r\nConnection: {connection}\r\n{framing}"
