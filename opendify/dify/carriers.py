"""How runs travel to Dify: over our own sockets, or over httpx's transport."""

from collections.abc import Mapping
from typing import Protocol
from urllib.request import getproxies, proxy_bypass

import httpx
import msgspec

from opendify import __version__
from opendify.bounded import remember
from opendify.dify.connections import ConnectionPool, Origin
from opendify.dify.events import RunLimits
from opendify.dify.exchange import Exchange
from opendify.dify.pump import ResponsePump
from opendify.dify.sockets import SocketExchange
from opendify.dify.trust import Trust
from opendify.dify.watches import watch_maker
from opendify.settings import DifyApp

# The event stream keeps the exact time; this only frees a reader that nobody waits for.
_READ_GRACE_SECONDS = 1.0
_MOST_HEADS = 2_000


class RunPost(msgspec.Struct, frozen=True):
    """What is posted: `body`, which is JSON, to `path` below the app's base URL.

    `client_socket` is the file number of the connection on which the answer is waited for, or -1.
    Only `HttpxCarrier` knows another `method` than POST.
    """

    app: DifyApp
    path: str
    body: bytes
    limits: RunLimits
    client_socket: int = -1
    traceparent: str = ""
    method: str = "POST"


class RunCarrier(Protocol):
    """Posts runs."""

    def open(self, post: RunPost) -> Exchange:
        """Post it; nothing is waited for."""
        ...


class HttpxCarrier:
    """Knows proxies, HTTP's corners, and everything else that httpx knows; a thread reads each run."""

    def __init__(self, client: httpx.Client, connect_seconds: float) -> None:
        self._client = client
        self._connect_seconds = connect_seconds

    def open(self, post: RunPost) -> Exchange:
        """See `RunCarrier.open`; its exchanges wake up five times a second instead of for the client."""
        request = self._client.build_request(
            post.method,
            post.app.api_base + post.path,
            content=post.body,
            headers={
                **_run_headers(post.app),
                **({"traceparent": post.traceparent} if post.traceparent else {}),
            },
            timeout=httpx.Timeout(
                self._connect_seconds, read=post.limits.first_event_seconds + _READ_GRACE_SECONDS
            ),
        )
        longest_silence = max(post.limits.first_event_seconds, post.limits.idle_seconds) + _READ_GRACE_SECONDS
        return ResponsePump(self._client, request, body_read_seconds=longest_silence)


class SocketCarrier:
    """The fast way, for servers that are reached directly."""

    def __init__(self, trust: Trust, *, idle_seconds: float, connect_seconds: float) -> None:
        self._trust = trust
        self._pool = ConnectionPool(idle_seconds=idle_seconds, connect_seconds=connect_seconds)
        self._heads: dict[tuple[DifyApp, str], tuple[Origin, bytes]] = {}
        self._make_watch = watch_maker()

    def open(self, post: RunPost) -> Exchange:
        """See `RunCarrier.open`."""
        origin, head = self._heads.get((post.app, post.path)) or self._render(post)
        if post.traceparent:
            head = b"%straceparent: %s\r\n" % (head, post.traceparent.encode("ascii"))
        request = b"%sContent-Length: %d\r\n\r\n%s" % (head, len(post.body), post.body)
        return SocketExchange(self._pool, origin, request, self._make_watch(post.client_socket))

    def close_expired(self) -> None:
        """See `ConnectionPool.close_expired`."""
        self._pool.close_expired()

    def close(self) -> None:
        """Close every idle connection."""
        self._pool.close()

    def _render(self, post: RunPost) -> tuple[Origin, bytes]:
        """Where an app's runs go, and all that never changes of their heads."""
        url = httpx.URL(post.app.api_base + post.path)
        is_encrypted = url.scheme == "https"
        port = url.port or (443 if is_encrypted else 80)
        tls = self._trust.context_for(post.app) if is_encrypted else None
        origin = Origin(url.raw_host.decode("ascii"), port, tls)
        headers = {
            "Host": url.netloc.decode("ascii"),
            "Accept": "text/event-stream",
            **_run_headers(post.app),
        }
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        head = f"POST {url.raw_path.decode('ascii')} HTTP/1.1\r\n{lines}".encode()
        return remember(self._heads, (post.app, post.path), (origin, head), most=_MOST_HEADS)


def proxy_stands_before(url: str) -> bool:
    """Whether the environment (`HTTPS_PROXY`, `NO_PROXY`…) wants a proxy between here and `url`."""
    parsed = httpx.URL(url)
    proxies = getproxies()
    wanted = parsed.scheme in proxies or "all" in proxies
    return wanted and not proxy_bypass(parsed.host)


def app_headers(app: DifyApp) -> Mapping[str, str]:
    """What every call to an app bears."""
    return {**headers_without_key(app), "Authorization": f"Bearer {app.api_key}"}


def headers_without_key(app: DifyApp) -> Mapping[str, str]:
    """What gets a request to the app's server, but opens nothing there."""
    return {**app.headers, "User-Agent": f"OpenDify/{__version__}"}


def _run_headers(app: DifyApp) -> Mapping[str, str]:
    return {**app_headers(app), "Content-Type": "application/json", "Accept-Encoding": "identity"}
