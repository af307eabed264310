"""Files from the web: never from a private network, and never more, longer or further than allowed.

A name is resolved once, every address that it has is looked at, and the connection goes
to one of those very addresses: a DNS answer that changes in between changes nothing.
"""

import hashlib
import socket
import ssl
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import httpcore
import httpx

from opendify import __version__
from opendify.attachments.local_files import LocalFile, RemoteFile
from opendify.attachments.public_addresses import is_public
from opendify.dify.calls import WhileWaiting
from opendify.errors import FileNotFetched, RequestTooLarge
from opendify.files.spool import Spool
from opendify.records import Clock

_PORTS: Final = {"http": 80, "https": 443}
_MOST_REDIRECTS: Final = 3
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_IN_MEMORY_BYTES: Final = 1024**2
# Whoever waits looks up that often: the client may have left.
_LOOK_UP_SECONDS: Final = 0.2

LookUp = Callable[[str, int], list[str]]
"""The addresses of a host, as text; raises `OSError` where there are none."""


def look_up(host: str, port: int) -> list[str]:
    """What the system's resolver says."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except UnicodeError as error:  # A label that is empty or too long.
        raise OSError("no name of a host") from error
    return [str(each[4][0]) for each in found]


@dataclass(frozen=True, slots=True)
class FetchLimits:
    """The largest file in bytes, and in how many seconds it must have come."""

    most_bytes: int
    seconds: float


class Fetcher:
    """Gets files by their URLs. `backend` makes connections to addresses that were looked at."""

    def __init__(
        self,
        *,
        look_up: LookUp = look_up,
        backend: httpcore.NetworkBackend | None = None,
        trust: Callable[[], ssl.SSLContext] = httpx.create_ssl_context,
        clock: Clock = time.monotonic,
    ) -> None:
        self._look_up = look_up
        self._backend = backend
        self._trust = trust
        self._clock = clock

    def fetch(self, file: RemoteFile, limits: FetchLimits, while_waiting: WhileWaiting) -> LocalFile:
        """The file behind `file.url`, and the media type that its server says.

        Raises:
            FileNotFetched: The URL may not be fetched, or cannot be.
            RequestTooLarge: More bytes than the limit.
        """
        deadline = self._clock() + limits.seconds
        waiter = _Waiter(deadline, self._clock, while_waiting)
        backend = _PublicBackend(self._look_up, self._backend or httpcore.SyncBackend(), waiter)
        url = file.url
        for _ in range(_MOST_REDIRECTS + 1):
            target = _checked_url(url, file.param)
            with _failures_mapped(file.param), self._asked(target, backend) as response:
                if response.status not in _REDIRECTS:
                    return _received(response, file, limits.most_bytes)
                url = str(_joined(target, _headers(response).get(b"location", b""), file.param))
        raise _cannot(file.param, "it leads on too often")

    @contextmanager
    def _asked(self, url: httpx.URL, backend: "_PublicBackend") -> Iterator[httpcore.Response]:
        headers: dict[bytes | str, bytes | str] = {
            "Host": url.netloc.decode("ascii"),
            "User-Agent": f"OpenDify/{__version__}",
            "Accept": "*/*",
            "Accept-Encoding": "identity",
        }
        tls = self._trust() if url.scheme == "https" else None
        with (
            httpcore.ConnectionPool(ssl_context=tls, network_backend=backend) as pool,
            pool.stream(
                "GET",
                httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
                headers=headers,
                extensions={"timeout": dict.fromkeys(("connect", "read", "write", "pool"), 3_600.0)},
            ) as response,
        ):
            yield response


def _checked_url(text: str, param: str) -> httpx.URL:
    try:
        url = httpx.URL(text)
        port = url.port or _PORTS.get(url.scheme)
        # `host` itself raises for what only looks like an international name.
        has_host = bool(url.host) and url.raw_host.isascii()
    except (httpx.InvalidURL, UnicodeError, ValueError):
        raise _cannot(param, "it is no URL") from None
    if url.scheme not in _PORTS or not has_host:
        raise _cannot(param, "only http and https URLs are fetched")
    if url.userinfo:
        raise _cannot(param, "it holds a user name or a password")
    if port not in _PORTS.values():
        raise _cannot(param, "only the ports 80 and 443 are fetched from")
    return url


def _joined(url: httpx.URL, location: bytes, param: str) -> httpx.URL:
    try:
        return url.join(location.decode("ascii"))
    except (httpx.InvalidURL, UnicodeError, ValueError):
        raise _cannot(param, "it leads to what is no URL") from None


def _headers(response: httpcore.Response) -> Mapping[bytes, bytes]:
    return {name.lower(): value for name, value in response.headers}


def _received(response: httpcore.Response, file: RemoteFile, most_bytes: int) -> LocalFile:
    headers = _headers(response)
    if response.status != 200:
        raise _cannot(file.param, f"its server answers with the status {response.status}")
    if headers.get(b"content-encoding", b"identity") != b"identity":
        raise _cannot(file.param, "its server sends it compressed, which was not asked for")
    length = headers.get(b"content-length", b"")
    if length.isdigit() and int(length[:20]) > most_bytes:
        raise _too_large(file.param, most_bytes)
    kept = _kept(response.iter_stream(), file.param, most_bytes)
    mime_type = headers.get(b"content-type", b"").decode("latin-1").partition(";")[0].strip().lower()
    name, param = file.filename, file.param
    return LocalFile(file.type, name, mime_type, param, kept.bytes, kept.sha256, kept.from_start)


def _kept(pieces: Iterable[bytes], param: str, most_bytes: int) -> "_Kept":
    kept = _Kept()
    for piece in pieces:
        kept.add(piece)
        if kept.bytes > most_bytes:
            raise _too_large(param, most_bytes)
    if not kept.bytes:
        raise _cannot(param, "it is empty")
    kept.finish()
    return kept


class _Kept:
    """What came, on the disk where it is much. It is gone with the last who needs it."""

    def __init__(self) -> None:
        self._spool = Spool(_IN_MEMORY_BYTES)
        self._digest = hashlib.sha256()
        self.bytes = 0

    def __del__(self) -> None:
        self._spool.close()

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()

    def add(self, piece: bytes) -> None:
        self.bytes += len(piece)
        self._digest.update(piece)
        self._spool.write(piece)

    def finish(self) -> None:
        self._spool.finish()

    def from_start(self) -> "_Kept":
        self._spool.file.seek(0)
        return self

    def read(self, size: int, /) -> bytes:
        return self._spool.file.read(size)

    def close(self) -> None:
        """One reading is over; there may be others."""


def _too_large(param: str, most_bytes: int) -> RequestTooLarge:
    return RequestTooLarge(
        f"The file behind '{param}' has more than {most_bytes} bytes, which is the limit.",
        param=param,
        code="file_too_large",
    )


def _cannot(param: str, reason: str) -> FileNotFetched:
    return FileNotFetched(f"The file behind '{param}' cannot be fetched: {reason}.", param=param)


@contextmanager
def _failures_mapped(param: str) -> Iterator[None]:
    try:
        yield
    except _NotPublic as error:
        raise _cannot(param, "its address is not in the open internet") from error
    except httpcore.TimeoutException as error:
        raise _cannot(param, "it took too long") from error
    except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.UnsupportedProtocol, OSError) as error:
        raise _cannot(param, "its server cannot be reached, or broke off") from error


class _NotPublic(Exception):
    """A host has an address that nobody may be led to."""


class _Waiter:
    """Waits in short steps, until a deadline."""

    def __init__(self, deadline: float, clock: Clock, while_waiting: WhileWaiting) -> None:
        self._deadline = deadline
        self._clock = clock
        self._while_waiting = while_waiting

    def step(self, too_late: type[Exception]) -> float:
        """How long to wait now; raises `too_late` after the deadline."""
        self._while_waiting()
        seconds_left = self._deadline - self._clock()
        if seconds_left <= 0:
            raise too_late
        return min(seconds_left, _LOOK_UP_SECONDS)

    def seconds_left(self) -> float:
        return max(0.001, self._deadline - self._clock())


class _PublicBackend(httpcore.NetworkBackend):
    """Connects to public addresses alone."""

    def __init__(self, look_up: LookUp, backend: httpcore.NetworkBackend, waiter: _Waiter) -> None:
        self._look_up = look_up
        self._backend = backend
        self._waiter = waiter

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        del timeout, local_address
        addresses = self._look_up(host.strip("[]"), port)
        if not all(map(is_public, addresses)):
            raise _NotPublic
        return _PatientStream(self._connected(addresses, port, socket_options), self._waiter)

    def _connected(
        self, addresses: list[str], port: int, options: Iterable[httpcore.SOCKET_OPTION] | None
    ) -> httpcore.NetworkStream:
        """The first address that can be reached: there may be no way to those of IPv6."""
        for number, address in enumerate(addresses, start=1):
            self._waiter.step(httpcore.ConnectTimeout)
            try:
                return self._backend.connect_tcp(address, port, self._waiter.seconds_left(), None, options)
            except httpcore.ConnectError:
                if number == len(addresses):
                    raise
        raise _NotPublic


class _PatientStream(httpcore.NetworkStream):
    """A stream that looks up while it waits, and never waits beyond the deadline."""

    def __init__(self, stream: httpcore.NetworkStream, waiter: _Waiter) -> None:
        self._stream = stream
        self._waiter = waiter

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        del timeout
        while True:
            seconds = self._waiter.step(httpcore.ReadTimeout)
            try:
                return self._stream.read(max_bytes, seconds)
            except httpcore.ReadTimeout:
                continue

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        del timeout
        self._stream.write(buffer, self._waiter.seconds_left())

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        del timeout
        encrypted = self._stream.start_tls(ssl_context, server_hostname, self._waiter.seconds_left())
        return _PatientStream(encrypted, self._waiter)

    def get_extra_info(self, info: str) -> object:
        return self._stream.get_extra_info(info)
