"""Stored keys as requests meet them: remembered for a moment, and for longer while their store is down."""

import hmac
import ipaddress
import logging
import threading
import time
from dataclasses import dataclass, field, replace
from typing import Final

from opendify.access.addresses import Network
from opendify.access.key_format import id_of, key_digest
from opendify.errors import AccessUnknown
from opendify.records import Caller, CallerLimits, Clock
from opendify.stores.base import StoreUnavailable
from opendify.stores.keys import KeyStore, StoredKey
from opendify.telemetry.instruments import STORE_ERRORS

FRESH_SECONDS: Final = 2.0
"""A revocation is known everywhere after so long."""
_MOST_KNOWN: Final = 10_000
_MOST_UNKNOWN: Final = 1_000
_LEAVE_ALONE_SECONDS: Final = 1.0
_NOTE_USE_SECONDS: Final = 300.0

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class KnownKey:
    """A stored key, and what is made of it once for all its requests."""

    stored: StoredKey
    caller: Caller
    networks: tuple[Network, ...]

    @classmethod
    def read(cls, stored: StoredKey) -> "KnownKey":
        limits = CallerLimits(stored.requests_per_minute, stored.tokens_per_minute, stored.concurrency)
        caller = Caller(stored.caller, stored.models, stored.default_user, limits, stored.is_admin)
        return cls(stored, caller, tuple(ipaddress.ip_network(each) for each in stored.addresses))

    def fits(self, key: str, now: float) -> bool:
        """Whether `key` is this one, or the one before its rotation while that is good."""
        digest = key_digest(key)
        is_present = hmac.compare_digest(digest, self.stored.digest)
        is_former = hmac.compare_digest(digest, self.stored.old_digest) and now < self.stored.old_until
        return is_present or is_former


@dataclass(slots=True)
class _Entry:
    known: KnownKey
    fresh_until: float
    refreshing: threading.Lock = field(default_factory=threading.Lock)


class KnownKeys:
    """Asks the store at most every two seconds for each key; safe for threads.

    While the store is down, keys that were good go on; so many are remembered.
    """

    def __init__(
        self,
        store: KeyStore,
        *,
        clock: Clock = time.monotonic,
        now: Clock = time.time,
        most_known: int = _MOST_KNOWN,
    ) -> None:
        """`clock` is a monotonic one, `now` Unix time."""
        self._store = store
        self._clock = clock
        self._now = now
        self._most_known = most_known
        self._entries: dict[str, _Entry] = {}
        self._unknown: dict[str, float] = {}
        self._leave_alone_until = float("-inf")
        self.failures = 0

    def find(self, key: str) -> KnownKey | None:
        """The key, whatever has become of it; None where nobody holds it.

        Raises:
            AccessUnknown: The store is down, and the key was not seen lately.
        """
        id = id_of(key)  # noqa: A001 - As in the key.
        entry = self._entries.get(id)
        known = self._look_up(id) if entry is None else self._fresh(id, entry)
        if known is None or not known.fits(key, self._now()):
            return None
        return known

    def hold_any(self) -> bool:
        """Whether somebody may hold a stored key that was not revoked; asks the store."""
        try:
            return any(not key.revoked_at for key in self._store.all())
        except StoreUnavailable:
            return True

    def forget(self) -> None:
        """Ask the store for every key anew."""
        self._entries.clear()
        self._unknown.clear()

    def close(self) -> None:
        """Close this process's connections; the next use opens others."""
        self._store.close()

    def _fresh(self, id: str, entry: _Entry) -> KnownKey | None:  # noqa: A002
        """What is known, asked anew by one of those who come when it is due."""
        if self._clock() < entry.fresh_until or not entry.refreshing.acquire(blocking=False):
            return entry.known
        try:
            return self._read(id)
        except StoreUnavailable:
            entry.fresh_until = self._clock() + _LEAVE_ALONE_SECONDS
            return entry.known
        finally:
            entry.refreshing.release()

    def _look_up(self, id: str) -> KnownKey | None:  # noqa: A002
        if self._clock() < self._unknown.get(id, float("-inf")):
            return None
        try:
            return self._read(id)
        except StoreUnavailable as error:
            raise AccessUnknown(
                "Your API key cannot be looked up at the moment; please try again in a moment."
            ) from error

    def _read(self, id: str) -> KnownKey | None:  # noqa: A002
        # As of before the reading: what is revoked meanwhile is not kept for longer.
        fresh_until = self._clock() + FRESH_SECONDS
        stored = self._ask(id)
        if stored is None:
            self._entries.pop(id, None)
            if len(self._unknown) >= _MOST_UNKNOWN:
                self._unknown.clear()
            self._unknown[id] = fresh_until
            return None
        known = KnownKey.read(stored)
        self._make_room(id)
        self._entries[id] = _Entry(known, fresh_until)
        return known

    def _ask(self, id: str) -> StoredKey | None:  # noqa: A002
        if self._clock() < self._leave_alone_until:
            raise StoreUnavailable("the store of keys did not answer a moment ago")
        try:
            return self._store.find(id)
        except StoreUnavailable:
            self._fail()
            self._leave_alone_until = self._clock() + _LEAVE_ALONE_SECONDS
            logger.warning("the store of keys did not answer", exc_info=True)
            raise

    def note_use(self, known: KnownKey) -> None:
        """Remember, within some minutes, when the key was last used."""
        now = self._now()
        if now - known.stored.last_used_at < _NOTE_USE_SECONDS:
            return
        entry = self._entries.get(known.stored.id)
        if entry is None or entry.known is not known:
            return
        used = replace(known, stored=replace(known.stored, last_used_at=now))
        self._entries[known.stored.id] = _Entry(used, entry.fresh_until)
        try:
            self._store.note_use(known.stored.id, now)
        except StoreUnavailable:
            self._fail()

    def _fail(self) -> None:
        self.failures += 1
        STORE_ERRORS.add("keys")

    def _make_room(self, id: str) -> None:  # noqa: A002
        if id in self._entries or len(self._entries) < self._most_known:
            return
        # The one that has been known for longest: the order of a dict is that of its making.
        for oldest in list(self._entries)[:1]:
            self._entries.pop(oldest, None)
