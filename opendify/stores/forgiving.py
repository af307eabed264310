"""A store as chats use it: while it is down they go on, with replay in place of memory."""

import logging
import time
from collections.abc import Callable
from typing import Literal, TypeVar

from opendify.stores.base import ConversationStore, StoredConversation, StoreUnavailable
from opendify.telemetry.instruments import STORE_ERRORS, STORE_SECONDS

NotClaimed = Literal["taken", "unknown"]

_Result = TypeVar("_Result")

logger = logging.getLogger(__name__)


class ForgivingStore:
    """Answers with nothing where the store behind it cannot answer; every such time is counted."""

    def __init__(self, store: ConversationStore) -> None:
        self._store = store
        self.failures = 0

    def claim_match(self, match_key: str, *, claim: str, until: float) -> StoredConversation | None:
        """See `ConversationStore.claim_match`."""
        return self._ask(lambda: self._store.claim_match(match_key, claim=claim, until=until), None)

    def claim(self, id: str, *, claim: str, now: float, until: float) -> StoredConversation | NotClaimed:
        """See `ConversationStore.claim`; `taken` and `unknown` (the store is down) are told apart."""
        return self._ask(
            lambda: self._store.claim(id, claim=claim, now=now, until=until) or "taken", "unknown"
        )

    def renew(self, id: str, *, claim: str, until: float) -> bool:
        """See `ConversationStore.renew`."""
        return self._ask(lambda: self._store.renew(id, claim=claim, until=until), otherwise=False)

    def save(self, conversation: StoredConversation, *, claim: str) -> bool:
        """See `ConversationStore.save`."""
        return self._ask(lambda: self._store.save(conversation, claim=claim), otherwise=False)

    def release(self, id: str, *, claim: str) -> None:
        """See `ConversationStore.release`."""
        self._ask(lambda: self._store.release(id, claim=claim), None)

    def delete(self, id: str) -> bool:
        """See `ConversationStore.delete`."""
        return self._ask(lambda: self._store.delete(id), otherwise=False)

    def find_by_scope(self, scope: str, limit: int) -> list[StoredConversation]:
        """See `ConversationStore.find_by_scope`."""
        return self._ask(lambda: self._store.find_by_scope(scope, limit), [])

    def find_by_conversation_id(self, caller: str, conversation_id: str) -> StoredConversation | None:
        """See `ConversationStore.find_by_conversation_id`."""
        return self._ask(lambda: self._store.find_by_conversation_id(caller, conversation_id), None)

    def clean_up(self, *, updated_before: float, most: int) -> None:
        """Forget what is too old, and the oldest of what is too much."""
        self._ask(lambda: self._store.delete_older_than(updated_before), 0)
        self._ask(lambda: self._store.delete_beyond(most), 0)

    def _ask(self, ask: Callable[[], _Result], otherwise: _Result) -> _Result:
        began_at = time.perf_counter()
        try:
            return ask()
        except StoreUnavailable:
            self.failures += 1
            STORE_ERRORS.add("conversations")
            logger.warning("the conversation store did not answer", exc_info=True)
            return otherwise
        finally:
            STORE_SECONDS.observe(time.perf_counter() - began_at)
