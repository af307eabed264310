"""A request's key → the `Caller` who holds it."""

import contextlib
import hashlib
import ipaddress
import os
import secrets
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path

from opendify.access.door import Door
from opendify.access.key_format import is_own_key, masked
from opendify.errors import GatewayError, PermissionDenied, Unauthorized
from opendify.records import Caller, Headers
from opendify.settings import Settings

_FIRST_KEY_FILE = "api-key"
_ADMIN_KEY_FILE = "admin-key"
# No name in `API_KEYS` can begin like this, so that nobody else is taken for one of these callers.
_ANONYMOUS = Caller("#anonymous")
_ADMIN = Caller("#admin", is_admin=True)
_FIRST = Caller("#first-key")
_FORWARDING_HEADERS = (
    "Forwarded",
    "Via",
    "X-Forwarded-For",
    "X-Forwarded-Host",
    "X-Forwarded-Proto",
    "X-Forwarded-Server",
    "X-Real-IP",
    "X-Client-IP",
    "True-Client-IP",
    "CF-Connecting-IP",
)


class KeyRing:
    """The keys that this service accepts.

    In production with no key at all, configured or stored, the first use makes an ordinary one and an admin's
    in `DATA_DIR`, so that a service set up with two variables is closed.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        door: Door | None = None,
        has_stored_keys: Callable[[], bool] = lambda: False,
    ) -> None:
        """The `door` lets in the holders of keys that `opendify keys` made; without it there are none.

        Where `has_stored_keys` no first keys are made.
        """
        self._settings = settings
        self._door = door
        self._has_stored_keys = has_stored_keys

    @property
    def is_open(self) -> bool:
        """Whether any key is accepted: when asked for, or in development on loopback without keys."""
        return self._settings.auth_mode == "open" or self._is_open_on_loopback

    def is_open_to(self, address: str | None) -> bool:
        """Whether a client at `address` needs no key; loopback means bound to it and called from it."""
        if self._settings.auth_mode == "open":
            return True
        return self._is_open_on_loopback and is_loopback(address or "")

    def authenticate(self, headers: Headers, address: str | None = None) -> Caller:
        """The holder of the key that a client at `address` presents.

        Raises:
            Unauthorized: No key, or one that is not ours; the message never repeats it whole.
            TooManyWrongKeys: So too, and that has happened too often from there.
            PermissionDenied: Open mode was reached from a web page; or the key is good, but not there.
            AccessUnknown: The store of keys is down, and the key was not seen lately.
        """
        key = presented_key(headers)
        if self.is_open_to(address):
            self._refuse_web_pages(headers)
            return Caller(f"#{_digest(key)[:12]}") if key else _ANONYMOUS
        if not key:
            raise Unauthorized(
                "You didn't provide an API key. Send it as 'Authorization: Bearer YOUR_KEY' "
                "(or in the header 'api-key' or 'x-api-key')."
            )
        # Looked up by digest, so that the time it takes tells nothing of a key.
        return self._callers.get(_digest(key)) or self._stored_caller(key, headers, address)

    def _stored_caller(self, key: str, headers: Headers, address: str | None) -> Caller:
        if self._door is None:
            raise Unauthorized(f"Incorrect API key provided: {masked(key)}.")
        return self._door.admit(key, headers, address)

    def refused_at_dify(self, headers: Headers, address: str | None) -> GatewayError | None:
        """As `Door.refused_at_dify`."""
        return self._door.refused_at_dify(presented_key(headers), headers, address) if self._door else None

    def authenticate_admin(self, headers: Headers, address: str | None = None) -> Caller:
        """The admin whose key this is, in open mode too.

        Raises:
            Unauthorized: No key, or one that is not ours.
            PermissionDenied: A key that is good, but not the admin's.
        """
        caller = self._admin(headers, address) or self.authenticate(headers, address)
        if not caller.is_admin:
            if self._door:
                self._door.note("no admin key", headers, address, caller.id)
            raise PermissionDenied(
                "This needs an admin key: the value of ADMIN_API_KEY, the one that the first start made, "
                "or one of `opendify keys create --admin`."
            )
        return caller

    def authenticate_observer(self, headers: Headers, address: str | None = None) -> Caller:
        """As `authenticate_admin`; in open mode without an admin key, this machine itself may look too.

        Raises:
            Unauthorized: As there.
            PermissionDenied: As there; or the caller is not surely this machine.
        """
        is_without_admin = self.is_open_to(address) and not self._settings.admin_api_key
        if is_without_admin and self._is_direct_from_loopback(headers, address):
            self._refuse_web_pages(headers)
            return _ANONYMOUS
        return self.authenticate_admin(headers, address)

    @property
    def needs_first_keys(self) -> bool:
        """Whether keys are asked for and none are configured."""
        settings = self._settings
        has_keys = bool(settings.api_keys or settings.admin_api_key)
        return settings.auth_mode == "keys" and not (self.is_open or has_keys)

    @property
    def shares_its_store(self) -> bool:
        """Whether other machines may serve the same people, each of which would make its own keys."""
        return not self._settings.conversation_store_url.lower().startswith("sqlite:")

    def first_key_files(self) -> Mapping[Path, Caller]:
        """The files of the keys that were made for want of any, an ordinary one and the admin's."""
        if not self.needs_first_keys or self.shares_its_store:
            return {}
        folder = self._settings.data_dir
        files = {folder / _FIRST_KEY_FILE: _FIRST, folder / _ADMIN_KEY_FILE: _ADMIN}
        if self._has_stored_keys():
            # Those that an earlier start made stay good.
            return {file: caller for file, caller in files.items() if file.exists()}
        for file in files:
            ensure_secret(file)
        return files

    @cached_property
    def _is_open_on_loopback(self) -> bool:
        settings = self._settings
        in_development = settings.environment == "development" and is_loopback(settings.server_host)
        return in_development and settings.auth_mode == "keys" and not settings.api_keys

    @cached_property
    def _callers(self) -> Mapping[str, Caller]:
        callers = {_digest(each.key): Caller(each.id) for each in self._settings.api_keys}
        if self._settings.admin_api_key:
            callers.setdefault(_digest(self._settings.admin_api_key), _ADMIN)
        for file, caller in self.first_key_files().items():
            callers[_digest(ensure_secret(file))] = caller
        return callers

    def _admin(self, headers: Headers, address: str | None) -> Caller | None:
        """The holder of a key that open mode would not ask for."""
        key = presented_key(headers)
        caller = self._callers.get(_digest(key)) if key else None
        if caller is None and key and self.is_open_to(address) and is_own_key(key):
            return self._stored_caller(key, headers, address)
        return caller if caller and caller.is_admin else None

    def _is_direct_from_loopback(self, headers: Headers, address: str | None) -> bool:
        """Behind a proxy on this machine everybody comes from loopback; a foreign name may be a rebinding."""
        if not is_loopback(address or "") or any(headers.get(name) for name in _FORWARDING_HEADERS):
            return False
        host = _host_name((headers.get("Host") or "").lower())
        return is_loopback(host) or host in self._settings.allowed_hosts

    def _refuse_web_pages(self, headers: Headers) -> None:
        """Any page that the operator's browser shows could otherwise use an open service."""
        settings = self._settings
        origin = headers.get("Origin")
        allowed = settings.cors_origins or ()
        is_listed = "*" in allowed or origin in allowed
        is_foreign = origin is not None and not _is_own_origin(origin, headers)
        if (is_foreign or headers.get("Sec-Fetch-Site") == "cross-site") and not is_listed:
            raise PermissionDenied("Web pages may not call this service in open mode; see CORS_ORIGINS.")
        host = _host_name((headers.get("Host") or "").lower())
        if is_loopback(settings.server_host) and not is_loopback(host) and host not in settings.allowed_hosts:
            raise PermissionDenied(f"The host {host[:100]!r} is not served in open mode; see ALLOWED_HOSTS.")


def presented_key(headers: Headers) -> str:
    """The key from `Authorization: Bearer`, `api-key` (Azure) or `x-api-key`; empty where there is none."""
    match (headers.get("Authorization") or "").split(maxsplit=1):
        case [scheme, key] if scheme.lower() == "bearer":
            return key.rstrip()
    return (headers.get("api-key") or headers.get("x-api-key") or "").strip()


def ensure_secret(path: Path) -> str:
    """The secret in `path`, made at first use; safe against several processes at once.

    Raises:
        OSError: The folder cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    while not (secret := _read_secret(path)):
        _write_secret(path)
    return secret


def _read_secret(path: Path) -> str:
    try:
        secret = path.read_text().strip()
    except FileNotFoundError:
        return ""
    if not secret:
        path.unlink(missing_ok=True)  # Left by a crash, or emptied to get a new one.
    return secret


def _write_secret(path: Path) -> None:
    """Write a new secret, unless another process was first; nobody ever sees half of one."""
    draft = path.with_name(f".{path.name}-{secrets.token_hex(8)}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(f"sk-{secrets.token_urlsafe(32)}\n")
    with contextlib.suppress(FileExistsError):
        path.hardlink_to(draft)
    draft.unlink()


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
