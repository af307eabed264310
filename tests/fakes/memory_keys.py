"""Keys and windows in memory, whose store can be taken down."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from opendify.access.key_format import key_digest, new_key
from opendify.stores.base import StoreUnavailable
from opendify.stores.keys import StoredKey
from opendify.stores.windows import WINDOW_SECONDS, Amount, Window


@dataclass
class MemoryKeys:
    """See `KeyStore`; `reads` counts what was asked of it."""

    keys: dict[str, StoredKey] = field(default_factory=dict)
    is_down: bool = False
    reads: int = 0

    def find(self, id: str) -> StoredKey | None:  # noqa: A002 - The Protocol's.
        self.reads += 1
        self._ask()
        return self.keys.get(id)

    def add(self, key: StoredKey) -> bool:
        self._ask()
        return self.keys.setdefault(key.id, key) is key

    def replace(self, before: StoredKey, after: StoredKey) -> bool:
        self._ask()
        stored = self.keys.get(before.id)
        if stored is None or replace(stored, last_used_at=before.last_used_at) != before:
            return False
        self.keys[before.id] = replace(after, last_used_at=stored.last_used_at)
        return True

    def all(self) -> Sequence[StoredKey]:
        self._ask()
        return list(self.keys.values())

    def note_use(self, id: str, at: float) -> None:  # noqa: A002 - The Protocol's.
        self._ask()
        stored = self.keys.get(id)
        if stored and stored.last_used_at < at:
            self.keys[id] = replace(stored, last_used_at=at)

    def close(self) -> None:
        return

    def _ask(self) -> None:
        if self.is_down:
            raise StoreUnavailable("the store is down")


@dataclass
class MemoryWindows:
    """See `WindowStore`."""

    windows: dict[str, Window] = field(default_factory=dict)
    is_down: bool = False

    def count(self, name: str, amount: Amount, most: Amount, *, now: float) -> Window:
        if self.is_down:
            raise StoreUnavailable("the store is down")
        before = self.windows.get(name)
        if before is None or not now < before.ends_at <= now + 2 * WINDOW_SECONDS:
            before = Window(True, Amount(0, 0), now + WINDOW_SECONDS)
            is_let_in = True
        else:
            fits = before.used.requests + amount.requests <= most.requests
            is_let_in = fits and before.used.tokens < most.tokens
        used = before.used
        if is_let_in:
            used = Amount(used.requests + amount.requests, used.tokens + amount.tokens)
        self.windows[name] = Window(is_let_in, used, before.ends_at)
        return self.windows[name]

    def clean_up(self, *, now: float) -> None:
        self.windows = {name: window for name, window in self.windows.items() if window.ends_at > now}

    def close(self) -> None:
        return


def made_key(id: str = "0123456789ab", **rights: object) -> tuple[str, StoredKey]:  # noqa: A002 - The field's name.
    """A key, and what is stored of it."""
    text = new_key(id)
    told: dict[str, object] = {"caller": f"caller-{id}", "name": f"name-{id}", **rights}
    return text, StoredKey(id=id, digest=key_digest(text), **told)  # type: ignore[arg-type] # By name.
