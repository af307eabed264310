"""A store that cannot be reached now and then."""

from collections.abc import Callable
from typing import cast

from opendify.stores import ConversationStore, StoreUnavailable
from tests.fakes.memory_store import MemoryStore


class _StumblingStore:
    def __init__(self, store: MemoryStore, fails: Callable[[str], bool]) -> None:
        self._store = store
        self._fails = fails

    def __getattr__(self, operation: str) -> object:
        if self._fails(operation):
            return _fail
        return cast("object", getattr(self._store, operation))


def stumbling(store: MemoryStore, fails: Callable[[str], bool]) -> ConversationStore:
    """`store`, but whatever operation `fails` says so of raises `StoreUnavailable`."""
    # It has whatever the store has.
    return cast("ConversationStore", _StumblingStore(store, fails))


def _fail(*args: object, **named: object) -> object:
    raise StoreUnavailable("the store is down")
