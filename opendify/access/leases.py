"""Places that are counted over several machines, and renewed while their requests go on."""

import secrets
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from opendify.records import Clock
from opendify.stores.base import StoreUnavailable
from opendify.stores.places import PlaceStore
from opendify.stores.renewal import ClaimRenewal

LEASE_SECONDS: Final = 30.0
"""So long the places of a process that was killed are taken."""
_RENEWAL_SECONDS: Final = 8.0


class LeasedPlaces:
    """See `Places`. `now` is Unix time."""

    def __init__(self, store: PlaceStore, *, now: Clock, renewal_seconds: float = _RENEWAL_SECONDS) -> None:
        self._store = store
        self._now = now
        self._renewal = ClaimRenewal(interval_seconds=renewal_seconds)

    def take(self, caller: str, most: int) -> Callable[[], None] | None:
        """A place of this caller's, as what gives it back; None where all are taken.

        Raises:
            StoreUnavailable: Nobody knows.
        """
        place, now = secrets.token_hex(8), self._now()
        if not self._store.take(caller, place, most=most, now=now, until=now + LEASE_SECONDS):
            return None
        lease = _Lease(self._store, caller, place, self._now)
        self._renewal.add(lease)

        def give_back() -> None:
            self._renewal.remove(lease)
            lease.end()

        return give_back

    def close(self) -> None:
        """Close this process's connections; the next use opens others."""
        self._store.close()


class _Lease:
    def __init__(self, store: PlaceStore, name: str, place: str, now: Clock) -> None:
        self._store = store
        self._name = name
        self._place = place
        self._now = now
        self._ended = threading.Event()

    def keep(self) -> None:
        if self._ended.is_set():
            return
        self._store.renew(self._name, self._place, until=self._now() + LEASE_SECONDS)
        # It may have ended while this was on its way.
        if self._ended.is_set():
            self._store.give_back(self._name, self._place)

    def end(self) -> None:
        self._ended.set()
        # While the store is down, the place ends by its time.
        with suppress(StoreUnavailable):
            self._store.give_back(self._name, self._place)
