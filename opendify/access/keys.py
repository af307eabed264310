"""A request's key → the `Caller` who holds it."""

import hashlib
import ipaddress
import os
import re
import secrets
import time
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

from opendify.errors import PermissionDenied, Unauthorized
from opendify.records import Caller, Headers
from opendify.settings import Settings

_BEARER = re.compile(r"\s*bearer\s+(?P<key>.*\S)\s*", re.IGNORECASE)
_FIRST_KEY_FILE = "api-key"
_FILE_WAIT_SECONDS = 0.05
_ANONYMOUS = Caller("anonymous")


class KeyRing:
    """The keys that this service accepts.

    In production with no key at all, the first use makes one and writes it to
    `DATA_DIR/api-key`, so that a service set up with two variables is closed.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    @property
    def is_open(self) -> bool:
        """Whether any key is accepted: when asked for, or in development on loopback without keys."""
        settings = self._settings
        in_development = settings.environment == "development" and is_loopback(settings.server_host)
        return settings.auth_mode == "open" or (in_development and not settings.api_keys)

    def authenticate(self, headers: Headers) -> Caller:
        """The holder of the presented key.

        Raises:
            Unauthorized: No key, or one that is not ours; the message never repeats it whole.
            PermissionDenied: Open mode was reached from a web page.
        """
        key = presented_key(headers)
        if self.is_open:
            self._refuse_web_pages(headers)
            return Caller(f"open-{_digest(key)[:12]}") if key else _ANONYMOUS
        if not key:
            raise Unauthorized(
                "You didn't provide an API key. Send it as 'Authorization: Bearer YOUR_KEY' "
                "(or in the header 'api-key' or 'x-api-key')."
            )
        # Looked up by digest, so that the time it takes tells nothing of a key.
        caller = self._callers.get(_digest(key))
        if caller is None:
            raise Unauthorized(f"Incorrect API key provided: {_masked(key)}.")
        return caller

    def first_key_file(self) -> Path | None:
        """The file of the key that was made for want of any; None where keys are configured."""
        if self.is_open or self._settings.api_keys:
            return None
        path = self._settings.data_dir / _FIRST_KEY_FILE
        ensure_secret(path)
        return path

    @cached_property
    def _callers(self) -> Mapping[str, Caller]:
        callers = {_digest(each.key): Caller(each.id) for each in self._settings.api_keys}
        if self._settings.admin_api_key:
            callers.setdefault(_digest(self._settings.admin_api_key), Caller("admin"))
        first_key_file = self.first_key_file()
        if first_key_file:
            callers[_digest(ensure_secret(first_key_file))] = Caller("first-key")
        return callers

    def _refuse_web_pages(self, headers: Headers) -> None:
        """Any page that the operator's browser shows could otherwise use an open service."""
        settings = self._settings
        origin = headers.get("Origin")
        allowed = settings.cors_origins or ()
        foreign = origin is not None and origin not in allowed and "*" not in allowed
        if (foreign and not _is_own_origin(origin or "", headers)) or (
            headers.get("Sec-Fetch-Site") == "cross-site" and not allowed
        ):
            raise PermissionDenied("Web pages may not call this service in open mode; see CORS_ORIGINS.")
        host = _host_name(headers.get("Host") or "")
        if is_loopback(settings.server_host) and not is_loopback(host) and host not in settings.allowed_hosts:
            raise PermissionDenied(f"The host {host[:100]!r} is not served in open mode; see ALLOWED_HOSTS.")


def presented_key(headers: Headers) -> str:
    """The key from `Authorization: Bearer`, `api-key` (Azure) or `x-api-key`; empty where there is none."""
    bearer = _BEARER.fullmatch(headers.get("Authorization") or "")
    if bearer:
        return bearer["key"]
    return (headers.get("api-key") or headers.get("x-api-key") or "").strip()


def ensure_secret(path: Path) -> str:
    """The secret in `path`, made at first use; safe against several processes at once.

    Raises:
        OSError: The folder cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return _read_secret(path)
    with os.fdopen(descriptor, "w") as file:
        secret = f"sk-{secrets.token_urlsafe(32)}"
        file.write(f"{secret}\n")
    return secret


def _read_secret(path: Path) -> str:
    secret = path.read_text().strip()
    if not secret:  # Another process has made the file and is about to write it.
        time.sleep(_FILE_WAIT_SECONDS)
        secret = path.read_text().strip()
    return secret


def is_loopback(host: str) -> bool:
    """Whether `host`, a name or an address, is this machine seen from itself."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _is_own_origin(origin: str, headers: Headers) -> bool:
    return origin.partition("://")[2].lower() == (headers.get("Host") or "").lower()


def _host_name(host: str) -> str:
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()


def _masked(key: str) -> str:
    return f"{key[:3]}***{key[-2:]}" if len(key) >= 12 else "***"
