"""A store of answers in a dict, held to the suite of the real ones."""

# ruff: noqa: A002 - the arguments are named by the Protocol.

from collections.abc import Sequence
from dataclasses import dataclass, field
from threading import RLock

from msgspec.structs import replace

from opendify.stores import StoreUnavailable
from opendify.stores.answers import NOT_KEPT, StoredAnswer
from opendify.stores.rows import storable_text


@dataclass
class MemoryAnswers:
    """While `is_down` is set, every call fails as one of an unreachable store does."""

    is_down: bool = False
    rows: dict[str, StoredAnswer] = field(default_factory=dict)
    _lock: RLock = field(default_factory=RLock)

    def begin(self, answer: StoredAnswer, *, now: float, anew: bool) -> StoredAnswer | None:
        with self._lock:
            known = [row for row in self._live(now) if row.key == answer.key]
            if known and not anew:
                return max(reversed(known), key=lambda row: row.begun_at)
            self.rows[answer.id] = replace(answer, user=storable_text(answer.user))
            return None

    def find(self, id: str, *, now: float) -> StoredAnswer | None:
        with self._lock:
            return next((row for row in self._live(now) if row.id == id), None)

    def renew(self, ids: Sequence[str], *, now: float, claimed_until: float, expires_at: float) -> None:
        for each in ids:
            self._change(each, now, claimed_until=claimed_until, expires_at=expires_at)

    def finish(self, id: str, outcome: bytes, *, now: float, expires_at: float) -> None:
        self._change(id, now, outcome=outcome, expires_at=expires_at)

    def forget(self, id: str) -> None:
        with self._lock:
            self._live(0)
            self.rows.pop(id, None)

    def delete_of_user(self, user: str) -> int:
        with self._lock:
            gone = [row.id for row in self._live(0) if row.user == storable_text(user)]
            for each in gone:
                del self.rows[each]
            return len(gone)

    def clean_up(self, *, now: float, most_bytes: int) -> int:
        with self._lock:
            self.rows = {row.id: row for row in self._live(now)}
            total = 0
            for row in sorted(self.rows.values(), key=lambda row: row.begun_at, reverse=True):
                total += len(row.outcome or b"")
                if row.outcome and total > most_bytes:
                    self.rows[row.id] = replace(row, outcome=NOT_KEPT)
                    if not row.fingerprint:
                        del self.rows[row.id]
            return len(self.rows)

    def close(self) -> None:
        return

    def _live(self, now: float) -> list[StoredAnswer]:
        if self.is_down:
            raise StoreUnavailable("the store is down")
        return [row for row in self.rows.values() if row.expires_at > now]

    def _change(self, id: str, now: float, **fields: object) -> None:
        with self._lock:
            row = self.find(id, now=now)
            if row and row.outcome is None:
                self.rows[id] = replace(row, **fields)
