"""Conversations for the stores' tests, and what other processes do with them."""

# ruff: noqa: A001, A002 - an id is `id`, as in the stores.

import os
from pathlib import Path

from opendify.stores import StoredConversation, open_store


def conversation(id: str, **fields: object) -> StoredConversation:
    """One whose every field is plain; `fields` replaces some."""
    plain: dict[str, object] = {
        "id": id,
        "scope": "scope",
        "model": "model",
        "caller": "caller",
        "user": "user",
        "chat_id": "chat",
        "app_fingerprint": "fingerprint",
        "conversation_id": f"dify-{id}",
        "match_key": "key",
    }
    return StoredConversation(**(plain | fields))  # type: ignore[arg-type] # The callers' literals are right.


def claim_each(url: str, data_dir: Path, ids: list[str]) -> list[str]:
    """Claim every one, in order; those that were got."""
    store = open_store(url, data_dir)
    won = [id for id in ids if store.claim(id, claim=f"process-{os.getpid()}", now=0, until=1)]
    store.close()
    return won


def claim_matches(url: str, data_dir: Path, keys: list[str]) -> list[str]:
    """Claim one match of every key, in order; the ids that were got."""
    store = open_store(url, data_dir)
    claims = [store.claim_match(key, claim=f"process-{os.getpid()}", until=1) for key in keys]
    store.close()
    return [claimed.id for claimed in claims if claimed is not None]


def take_turns(url: str, data_dir: Path, ids: list[str], turns: int) -> int:
    """Add so many turns to conversations that others add to as well; how many were saved."""
    store = open_store(url, data_dir)
    claim, saved, step = f"process-{os.getpid()}", 0, 0
    while saved < turns:
        step += 1
        held = store.claim(ids[step % len(ids)], claim=claim, now=0, until=1)
        if held is not None:
            saved += store.save(conversation(held.id, turns=held.turns + 1, updated_at=step), claim=claim)
        assert store.save(conversation(f"{claim}-{step}", match_key=claim, updated_at=step), claim=claim)
        assert store.claim_match(claim, claim=claim, until=1) is not None
    store.close()
    return saved


def save_until_killed(url: str, data_dir: Path, told: Path) -> None:
    """Save one conversation after the other, and write each id down once it is saved."""
    store = open_store(url, data_dir)
    with told.open("a", buffering=1) as ids:
        for number in range(1_000_000):
            # No id of an earlier process: a server may carry out a last command of one that was killed.
            id = f"{os.getpid()}-{number}"
            assert store.save(conversation(id, updated_at=number), claim="claim")
            ids.write(f"{id}\n")
