"""What operators do with stored keys; every change is a line in the audit log."""

import re
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from opendify.access.key_format import SHORTEST_FOREIGN, id_of, key_digest, new_id, new_key
from opendify.audit.log import AuditLog
from opendify.records import Clock
from opendify.stores.keys import KeyStore, StoredKey

_NAME: Final = re.compile(r"[A-Za-z0-9._@-]{1,64}")
_TRIES: Final = 5


class KeyRefused(Exception):
    """An operator asked for what cannot be; the message says what would be right."""


@dataclass(frozen=True, slots=True)
class MadeKey:
    """A key as its holder needs it, which nobody can show again, and what is stored of it."""

    key: str = field(repr=False)
    stored: StoredKey


class KeyAdmin:
    """Every method may raise `StoreUnavailable`, and `KeyRefused`."""

    def __init__(self, store: KeyStore, audit: AuditLog, *, taken: Sequence[str], now: Clock) -> None:
        """`taken` are the callers of the settings, whose names nobody else may have; `now` is Unix time."""
        self._store = store
        self._audit = audit
        self._taken = frozenset(taken)
        self.now = now

    def all(self) -> Sequence[StoredKey]:
        """Every key, those that are revoked too, in the order of their making."""
        return self._store.all()

    def get(self, name: str) -> StoredKey:
        """The key with this id, or the newest with this name that is not revoked."""
        found = self._store.find(name)
        if found is None:
            named = [key for key in self._store.all() if key.name == name]
            found = next((key for key in reversed(named) if not key.revoked_at), named[-1] if named else None)
        if found is None:
            raise KeyRefused(f"there is no key {name!r}; `opendify keys list` shows them all")
        return found

    def create(self, rights: StoredKey) -> MadeKey:
        """A new key with these rights, whatever `id` and `digest` they have."""
        self._check_name(rights.name, self._names())
        for _ in range(_TRIES):
            id_ = new_id()
            key = new_key(id_)
            stored = replace(rights, id=id_, caller=id_, digest=key_digest(key), created_at=self.now())
            if self._store.add(stored):
                self._note("create", stored)
                return MadeKey(key, stored)
        raise KeyRefused("no free id was found")

    def import_keys(self, entries: Iterable[tuple[str, StoredKey]]) -> int:
        """Let keys in that were made elsewhere, each with its rights; how many.

        The first one that cannot be ends it: those before it are in.
        """
        names, callers = self._names(), {key.caller for key in self._store.all()}
        count = 0
        for key, rights in entries:
            self._check_name(rights.name, names)
            self._import(key, rights, callers)
            names.add(rights.name)
            count += 1
        return count

    def _import(self, key: str, rights: StoredKey, callers: set[str]) -> None:
        if len(key) < SHORTEST_FOREIGN:
            raise KeyRefused(
                f"the key of {rights.name!r} is too short: it needs {SHORTEST_FOREIGN} characters"
            )
        if rights.caller in callers:
            raise KeyRefused(f"another key speaks for {rights.caller!r}")
        stored = replace(rights, id=id_of(key), digest=key_digest(key), created_at=self.now())
        if not self._store.add(stored):
            raise KeyRefused(f"the key of {rights.name!r} is there already")
        callers.add(rights.caller)
        self._note("import", stored)

    def rotate(self, name: str, *, grace_seconds: float) -> MadeKey:
        """A new key for the same holder; the one before stays good for so long."""
        before = self._usable(name)
        key = new_key(before.id)
        after = replace(
            before,
            digest=key_digest(key),
            old_digest=before.digest if grace_seconds > 0 else b"",
            old_until=self.now() + grace_seconds if grace_seconds > 0 else 0.0,
        )
        self._replace(before, after)
        self._note("rotate", after, grace_seconds=grace_seconds)
        return MadeKey(key, after)

    def revoke(self, name: str) -> StoredKey:
        """Nobody gets in with it any more, within seconds."""
        before = self._usable(name)
        after = replace(before, revoked_at=self.now(), old_digest=b"", old_until=0.0)
        self._replace(before, after)
        self._note("revoke", after)
        return after

    def _usable(self, name: str) -> StoredKey:
        key = self.get(name)
        if key.revoked_at:
            raise KeyRefused(f"the key {name!r} was revoked; make another with `opendify keys create`")
        return key

    def _replace(self, before: StoredKey, after: StoredKey) -> None:
        if not self._store.replace(before, after):
            raise KeyRefused(f"somebody else changed the key {before.name!r} just now; look, and try again")

    def _names(self) -> set[str]:
        """Those that are in use."""
        return {*self._taken, *(key.name for key in self._store.all() if not key.revoked_at)}

    def _check_name(self, name: str, names: Container[str]) -> None:
        if not _NAME.fullmatch(name):
            raise KeyRefused("a name has 1 to 64 letters, digits and . _ @ -")
        if name in names:
            raise KeyRefused(f"there is a key {name!r} already; choose another name, or rotate that one")

    def _note(self, action: str, key: StoredKey, **facts: object) -> None:
        rights = {"admin": key.is_admin, "models": ",".join(key.models)}
        self._audit.note("key action", action=action, key=key.id, **rights, **facts)


def key_shape(key: StoredKey, now: float) -> Mapping[str, object]:
    """A key as JSON, without its digests; times are whole Unix seconds, absent limits are null."""
    return {
        "id": key.id,
        "name": key.name,
        "caller": key.caller,
        "state": key_state(key, now),
        "models": list(key.models),
        "addresses": list(key.addresses),
        "admin": key.is_admin,
        "requests_per_minute": key.requests_per_minute or None,
        "tokens_per_minute": key.tokens_per_minute or None,
        "concurrency": key.concurrency or None,
        "default_user": key.default_user or None,
        "created_at": int(key.created_at),
        "expires_at": int(key.expires_at) or None,
        "revoked_at": int(key.revoked_at) or None,
        "last_used_at": int(key.last_used_at) or None,
        "former_key_until": int(key.old_until) if key.old_until > now else None,
    }


def key_state(key: StoredKey, now: float) -> str:
    """`active`, `expired` or `revoked`."""
    if key.revoked_at:
        return "revoked"
    return "expired" if key.expires_at and key.expires_at <= now else "active"
