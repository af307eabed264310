"""httpx's clients, one for all apps that trust the same certificates, made on first use."""

import threading
from collections.abc import Callable
from http.cookiejar import CookieJar, DefaultCookiePolicy

import httpx

from opendify.dify.trust import Trust
from opendify.settings import DifyApp

TransportFactory = Callable[[], httpx.BaseTransport]


class HttpClients:
    """One object a process: connections must not cross a fork."""

    def __init__(self, transport: TransportFactory | None, trust: Trust, *, idle_seconds: float) -> None:
        """An idle connection is not used again after `idle_seconds`; with 0 each call has its own."""
        self._transport = transport
        self._trust = trust
        self._idle_seconds = idle_seconds
        self._lock = threading.Lock()
        self._clients: dict[str, httpx.Client] = {}

    def get(self, app: DifyApp) -> httpx.Client:
        """The client that may talk to the app's server."""
        key = self._trust.key_for(app)
        client = self._clients.get(key)
        if client is None:
            with self._lock:
                client = self._clients.get(key) or self._clients.setdefault(key, self._make(app))
        return client

    def close(self) -> None:
        """Close every connection."""
        with self._lock:
            for client in self._clients.values():
                client.close()
            self._clients.clear()

    def _make(self, app: DifyApp) -> httpx.Client:
        if self._transport:
            return httpx.Client(transport=self._transport(), cookies=_no_cookies())
        # As many connections as there are calls; proxies and certificates follow the environment.
        limits = httpx.Limits(
            max_connections=None,
            max_keepalive_connections=None if self._idle_seconds else 0,
            keepalive_expiry=self._idle_seconds,
        )
        return httpx.Client(verify=self._trust.context_for(app), limits=limits, cookies=_no_cookies())


def _no_cookies() -> CookieJar:
    """A jar that takes none: all callers share a client, and a cookie of one is not another's."""
    return CookieJar(policy=DefaultCookiePolicy(allowed_domains=[]))
