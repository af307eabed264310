"""Where conversations and local state are kept."""

import os
from collections.abc import Iterator

from opendify.doctor.findings import Finding, ok, problem
from opendify.settings import Settings
from opendify.stores.base import ConversationStore
from opendify.stores.probe import StoreProbe

_PATIENCE_SECONDS = 10.0


def examine_stores(settings: Settings, store: ConversationStore) -> Iterator[Finding]:
    """Whether the service could remember anything."""
    kind = settings.conversation_store_url.partition(":")[0]
    if StoreProbe(store, wait_seconds=_PATIENCE_SECONDS).is_reachable():
        yield ok("conversations", f"the store ({kind}) answers")
    else:
        yield problem(
            "conversations",
            f"the store ({kind}) does not answer",
            "check CONVERSATION_STORE_URL, and that its server runs; chats go on without it, and forget",
        )
    folder = settings.data_dir
    existing = next(each for each in (folder, *folder.parents) if each.exists())
    if os.access(existing, os.W_OK | os.X_OK):
        yield ok("data", f"{folder} can be written to")
    else:
        yield problem("data", f"{folder} cannot be written to", "let this user own it, or set DATA_DIR")
