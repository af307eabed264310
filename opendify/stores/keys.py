"""What a store of API keys holds and does; no key is ever in it, only digests."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

import msgspec

from opendify.stores.base import StoreUnavailable


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredKey:
    """A key, known by its digest, and what it may.

    `id` stands in the key itself, so that it is found with one read; `caller` is who
    its holder is to everything else, and both survive a rotation. The digest before
    the last rotation is good until `old_until`. `models` and `addresses` are empty
    where every one is allowed; a limit of 0 is none. Times are Unix seconds, 0 for never.
    """

    id: str
    caller: str
    name: str
    digest: bytes = field(repr=False)
    old_digest: bytes = field(default=b"", repr=False)
    old_until: float = 0.0
    models: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    is_admin: bool = False
    requests_per_minute: int = 0
    tokens_per_minute: int = 0
    concurrency: int = 0
    default_user: str = ""
    created_at: float = 0.0
    expires_at: float = 0.0
    revoked_at: float = 0.0
    last_used_at: float = 0.0
    """Within some minutes."""


class KeyStore(Protocol):
    """Shared by all processes and machines that let callers in. Every method may raise `StoreUnavailable`."""

    def find(self, id: str) -> StoredKey | None:
        """The key with this id."""
        ...

    def add(self, key: StoredKey) -> bool:
        """Write a new key; False where its id is known, and nothing is written."""
        ...

    def replace(self, before: StoredKey, after: StoredKey) -> bool:
        """Write `after` in place of `before`; False where somebody else changed it meanwhile.

        When it was last used is no change.
        """
        ...

    def all(self) -> Sequence[StoredKey]:
        """Every key, in the order of their making."""
        ...

    def note_use(self, id: str, at: float) -> None:
        """The key was used at that time."""
        ...

    def close(self) -> None:
        """Close this process's connections; the next use opens others."""
        ...


# What a row has columns of its own for, beside its `body`.
_COLUMNS: Final = ("id", "last_used_at")


def write_body(key: StoredKey) -> str:
    """Everything but the row's own columns, as JSON; the same for the same key."""
    shape: Mapping[str, object] = msgspec.to_builtins(key)
    return msgspec.json.encode({name: shape[name] for name in shape if name not in _COLUMNS}).decode()


def read_key(id: object, body: object, last_used_at: object) -> StoredKey:
    """The key in a row.

    Raises:
        StoreUnavailable: The row is none of ours.
    """
    try:
        shape = msgspec.json.decode(body if isinstance(body, str | bytes) else b"", type=dict[str, object])
        shape |= {"id": id, "last_used_at": float(str(last_used_at))}
        return msgspec.convert(shape, StoredKey)
    except (ValueError, msgspec.MsgspecError) as error:
        raise StoreUnavailable(f"a stored key cannot be read: {error}") from error
