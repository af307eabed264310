"""Gunicorn's side of WSGI for requests that are there as a whole: their environment, and their answer.

As Gunicorn's own, which does more for each request and for each of its headers.
"""

import functools
import io
import re
import socket
import time
from collections.abc import Iterable
from email.utils import formatdate
from typing import TYPE_CHECKING, Any, Final, cast

from gunicorn.config import Config
from gunicorn.http import wsgi
from gunicorn.http.errors import ConfigurationProblem
from gunicorn.http.message import TOKEN_RE, Request
from gunicorn.util import is_hoppish, unquote_to_wsgi_str

from opendify.settings.loading import gunicorn_script_name

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

BODY: Final = "opendify.body"
"""Where the environment holds a body that was received as a whole, as bytes."""

# Lines without blanks at either end.
_VALUES: Final = re.compile(r"(?:(?:[\x21-\x7e\x80-\xff]+(?:[ \t]+[\x21-\x7e\x80-\xff]+)*)?(?:\n|\Z))*")
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
    for name, value in request.headers:
        if name in _PLACES:
            environ[_PLACES[name]] = value
            continue
        key = f"HTTP_{name.replace('-', '_')}"
        environ[key] = f"{environ[key]},{value}" if key in environ else value
    if environ["SCRIPT_NAME"]:
        _mount(environ)
    return environ


def _mount(environ: "WSGIEnvironment") -> None:
    """Take the path of the proxy that stands before the app off the request's."""
    name, path = environ["SCRIPT_NAME"], environ["PATH_INFO"]
    if not path.startswith(name):
        raise ConfigurationProblem(f"Request path {path!r} does not start with SCRIPT_NAME {name!r}")
    environ["PATH_INFO"] = path[len(name) :]


class PlainAnswer(wsgi.Response):
    """An answer whose head leaves together with the first piece of its body."""

    def __init__(self, request: Request, sock: socket.socket, cfg: Config) -> None:
        super().__init__(request, sock, cfg)
        self._unsent = b""

    def process_headers(self, headers: Iterable[tuple[str, str]]) -> None:
        """As in the base class, which looks at each value by itself."""
        headers = list(headers)
        names = [name for name, _ in headers]
        # No value may hold the line ends that join them here.
        values = "\n".join([value for _, value in headers])
        is_well_formed = _VALUES.fullmatch(values) and values.count("\n") == len(headers) - 1
        if not (is_well_formed and all(map(_is_ordinary, names))):
            super().process_headers(headers)
            return
        if "Content-Length" in names:
            self.response_length = int(headers[names.index("Content-Length")][1])
        self.headers = [*self.headers, *headers]

    def default_headers(self) -> list[str]:
        """As in the base class, but the date is written once a second."""
        if self.upgrade:
            return super().default_headers()
        major, minor = self.req.version or (1, 1)
        connection = "close" if self.should_close() else "keep-alive"
        framing = "Transfer-Encoding: chunked\r\n" if self.chunked else ""
        return [
            f"HTTP/{major}.{minor} {self.status}\r\nServer: {self.version}\r\n"
            f"Date: {_date(int(time.time()))}\r\nConnection: {connection}\r\n{framing}"
        ]

    def send_headers(self) -> None:
        """Have them leave with what is written next."""
        if self.headers_sent:
            return
        lines = "\r\n".join([*map(": ".join, self.headers), "", ""])
        self._unsent = f"{''.join(self.default_headers())}{lines}".encode("latin-1")
        self.headers_sent = True

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

    def _emit_body(self, data: bytes) -> None:
        self._send(b"%X\r\n%b\r\n" % (len(data), data) if self.chunked else data)

    def _send(self, data: bytes) -> None:
        unsent, self._unsent = self._unsent, b""
        if unsent or data:
            self.sock.sendall(unsent + data)


@functools.lru_cache(maxsize=256)
def _is_ordinary(name: str) -> bool:
    """Whether a header so called is passed on as it is; the length is read where it is so written."""
    is_known = name == "Content-Length" or name.lower() != "content-length"
    return is_known and bool(TOKEN_RE.fullmatch(name)) and not is_hoppish(name)


@functools.lru_cache(maxsize=2)
def _date(now: int) -> str:
    return formatdate(now, usegmt=True)
