"""What an app needs to let callers in, as its settings say; nothing is opened before it is used."""

import time
from dataclasses import dataclass
from functools import partial
from typing import Final

from opendify.access.door import Door
from opendify.access.keys import KeyRing
from opendify.access.known_keys import KnownKeys
from opendify.access.leases import LeasedPlaces
from opendify.access.limiter import Limiter, Places
from opendify.access.passed_keys import PassedKeys
from opendify.access.places import KeyPlaces
from opendify.audit.log import AuditLog
from opendify.dify.client import DifyClient
from opendify.records import CallerLimits, Clock
from opendify.settings import Settings, SettingsError
from opendify.stores.keys import KeyStore
from opendify.stores.opening import open_key_store, open_place_store, open_window_store
from opendify.stores.windows import WindowStore

ACCESS: Final = "opendify-access"
"""Where the app keeps its `Access`, among its extensions."""


@dataclass(frozen=True, slots=True)
class Access:
    """Who may call, how often, and what is written of it. `stored` is None where no keys are stored."""

    keys: KeyRing
    limiter: Limiter
    audit: AuditLog
    stored: KnownKeys | None

    def close(self) -> None:
        """Close this process's connections; the next use opens others."""
        self.limiter.close()
        if self.stored:
            self.stored.close()


def open_access(
    settings: Settings,
    *,
    client: DifyClient | None = None,
    clock: Clock = time.monotonic,
    now: Clock = time.time,
) -> Access:
    """`clock` is a monotonic one, `now` Unix time; without a `client` no keys are passed through to Dify.

    Raises:
        SettingsError: The settings name no usable store.
    """
    audit = open_audit_log(settings, now=now)
    store = open_configured_keys(settings)
    stored = KnownKeys(store, clock=clock, now=now) if store else None
    limiter = Limiter(
        _open_windows(settings),
        _open_places(settings, now),
        audit,
        on_failure=settings.access.on_store_failure,
        clock=clock,
        now=now,
    )
    door = Door(
        stored,
        limiter,
        audit,
        passed=_passed_keys(settings, client, clock),
        trusted_proxies=settings.access.trusted_proxies,
        most_failures=settings.access.failed_logins_per_minute,
        now=now,
    )
    keys = KeyRing(settings, door=door, has_stored_keys=stored.hold_any if stored else lambda: False)
    return Access(keys, limiter, audit, stored)


def _passed_keys(settings: Settings, client: DifyClient | None, clock: Clock) -> PassedKeys | None:
    if client is None or settings.passed_app is None:
        return None
    access = settings.access
    limits = CallerLimits(
        access.passed_requests_per_minute, access.passed_tokens_per_minute, access.passed_concurrency
    )
    ask = partial(client.call, method="GET", path="/info")
    return PassedKeys(settings.passed_app, ask, limits=limits, clock=clock)


def open_audit_log(settings: Settings, *, now: Clock = time.time) -> AuditLog:
    """The log that the settings name."""
    path = settings.access.audit_log_file or settings.data_dir / "audit.log"
    return AuditLog(path, max_bytes=settings.access.audit_log_max_bytes, now=now)


def open_configured_keys(settings: Settings) -> KeyStore | None:
    """The store of keys; None where none are to be stored.

    Raises:
        SettingsError: The settings name no usable one.
    """
    url = _url(settings, "keys.db")
    try:
        return open_key_store(url, settings.data_dir) if url else None
    except ValueError as error:
        raise SettingsError(f"KEY_STORE: {error}") from None


def _open_windows(settings: Settings) -> WindowStore:
    """Wrong keys are counted even where none are stored."""
    url = _url(settings, "limits.db") or "sqlite:///data/limits.db"
    return open_window_store(url, settings.data_dir)


def _open_places(settings: Settings, now: Clock) -> Places:
    store = open_place_store(_url(settings, "limits.db"))
    return LeasedPlaces(store, now=now) if store else KeyPlaces(settings.data_dir / "key-places")


def _url(settings: Settings, file: str) -> str:
    """The store's URL; empty where it is off. SQLite has a file for each purpose."""
    url = settings.access.key_store
    if url == "off":
        return ""
    if url == "auto":
        beside = settings.conversation_store_url
        return f"sqlite:///data/{file}" if beside.lower().startswith("sqlite:") else beside
    if url.lower().startswith("sqlite:") and file != "keys.db":
        return f"{url.removesuffix('.db')}-{file}"
    return url
