"""A conversation store in a dict, held to the suite of the real ones and their model."""

# ruff: noqa: A002 - the arguments are named by the Protocol.

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from threading import RLock

from msgspec import structs

from opendify.stores import StoredConversation, StoreStatistics, StoreUnavailable


@dataclass
class MemoryStore:
    """While `is_down` is set, every call fails as one of an unreachable store does."""

    is_down: bool = False
    _rows: dict[str, StoredConversation] = field(default_factory=dict)
    _claims: dict[str, tuple[str, float]] = field(default_factory=dict)
    _lock: RLock = field(default_factory=RLock)

    def claim_match(self, match_key: str, *, claim: str, until: float) -> StoredConversation | None:
        with self._lock:
            self.ping()
            found = self._newest(
                row for row in self._rows.values() if match_key and row.match_key == match_key
            )
            free = next((row for row in found if row.id not in self._claims), None)
            if free:
                self._claims[free.id] = (claim, until)
            return free

    def claim(self, id: str, *, claim: str, now: float, until: float) -> StoredConversation | None:
        with self._lock:
            self.ping()
            if id not in self._rows or (id in self._claims and self._claims[id][1] > now):
                return None
            if id in self._claims:
                self._rows[id] = structs.replace(self._rows[id], match_key="", recent=b"")
            self._claims[id] = (claim, until)
            return self._rows[id]

    def renew(self, id: str, *, claim: str, until: float) -> bool:
        with self._lock:
            if not self._holds(id, claim):
                return False
            self._claims[id] = (claim, until)
            return True

    def save(self, conversation: StoredConversation, *, claim: str) -> bool:
        with self._lock:
            self.ping()
            if conversation.id in self._rows and not self._holds(conversation.id, claim):
                return False
            self._rows[conversation.id] = conversation
            self._claims.pop(conversation.id, None)
            return True

    def release(self, id: str, *, claim: str) -> None:
        with self._lock:
            if self._holds(id, claim):
                del self._claims[id]

    def find_by_scope(self, scope: str, limit: int) -> list[StoredConversation]:
        return self._newest(row for row in self._all() if row.scope == scope)[:limit]

    def find_by_conversation_id(self, caller: str, conversation_id: str) -> StoredConversation | None:
        mine = (row for row in self._all() if (row.caller, row.conversation_id) == (caller, conversation_id))
        return next(iter(self._newest(mine)), None)

    def find(self, id: str) -> StoredConversation | None:
        return next((row for row in self._all() if row.id == id), None)

    def recent(self, limit: int) -> list[StoredConversation]:
        return self._newest(self._all())[:limit]

    def of_user(self, user: str, caller: str | None) -> list[StoredConversation]:
        return self._newest(row for row in self._all() if row.user == user and caller in (None, row.caller))

    def all(self) -> Iterator[StoredConversation]:
        return reversed(self._newest(self._all()))

    def delete(self, id: str) -> bool:
        with self._lock:
            self.ping()
            self._claims.pop(id, None)
            return self._rows.pop(id, None) is not None

    def delete_older_than(self, updated_before: float) -> int:
        return sum(self.delete(row.id) for row in self._all() if row.updated_at < updated_before)

    def delete_beyond(self, most: int) -> int:
        return sum(self.delete(row.id) for row in self._newest(self._all())[max(most, 0) :])

    def statistics(self) -> StoreStatistics:
        rows = self._all()
        times = [row.updated_at for row in rows]
        return StoreStatistics(
            conversations=len(rows),
            users=len({row.user for row in rows}),
            turns=sum(row.turns for row in rows),
            by_model=Counter(row.model for row in rows),
            oldest_at=min(times, default=None),
            newest_at=max(times, default=None),
        )

    def about(self) -> Mapping[str, object]:
        self.ping()
        return {"backend": "memory", "schema_version": 1, "size_bytes": 0}

    def optimize(self) -> None:
        self.ping()

    def ping(self) -> None:
        if self.is_down:
            raise StoreUnavailable("the store is down")

    def close(self) -> None:
        return

    def _all(self) -> list[StoredConversation]:
        with self._lock:
            self.ping()
            return list(self._rows.values())

    def _newest(self, rows: Iterable[StoredConversation]) -> list[StoredConversation]:
        return sorted(rows, key=lambda row: (row.updated_at, row.id), reverse=True)

    def _holds(self, id: str, claim: str) -> bool:
        self.ping()
        return id in self._claims and self._claims[id][0] == claim
