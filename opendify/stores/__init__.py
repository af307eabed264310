"""Where conversations are remembered: one Protocol, one module a back end."""

from opendify.stores.base import ConversationStore, StoredConversation, StoreStatistics, StoreUnavailable
from opendify.stores.migrations import SchemaTooNew
from opendify.stores.opening import open_store

__all__ = [
    "ConversationStore",
    "SchemaTooNew",
    "StoreStatistics",
    "StoreUnavailable",
    "StoredConversation",
    "open_store",
]
