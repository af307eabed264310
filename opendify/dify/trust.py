"""Whose certificates count: TLS contexts, of two megabytes each, made once for all that may share them."""

import ssl
import threading
from collections.abc import Iterable

import httpx

from opendify.settings import DifyApp


class Trust:
    """The contexts of one process, or of a master and all its workers where it read them before the fork."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._contexts: dict[str, ssl.SSLContext] = {}

    def context_for(self, app: DifyApp) -> ssl.SSLContext:
        """For connections to the app's server: one for all apps that trust the same.

        Raises:
            OSError: The app's `ca_file` cannot be read, or holds no certificate.
        """
        key = self.key_for(app)
        with self._lock:
            context = self._contexts.get(key)
            if context is None:
                context = self._contexts[key] = _trusted_by(app)
            return context

    def key_for(self, app: DifyApp) -> str:
        """The same for all apps that trust the same certificates; empty where none are asked for."""
        return str(app.ca_file or "default") if _is_encrypted(app) else ""

    def read_for(self, apps: Iterable[DifyApp]) -> None:
        """Make what the apps will need; who cannot have it hears why when it is asked for."""
        for app in apps:
            try:
                self.context_for(app)
            except OSError:
                continue


def _trusted_by(app: DifyApp) -> ssl.SSLContext:
    """Those of the app's `ca_file`, else what httpx and the environment trust; for plain HTTP none."""
    if not _is_encrypted(app):
        # Whoever nevertheless meets TLS is refused, since nobody is trusted.
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if app.ca_file:
        context = ssl.create_default_context(cafile=str(app.ca_file))
    else:
        context = httpx.create_ssl_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


def _is_encrypted(app: DifyApp) -> bool:
    return app.api_base.startswith("https:")
