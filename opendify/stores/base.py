"""What a conversation store holds and does; no text of any conversation is ever in it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

import msgspec


class StoreUnavailable(Exception):
    """The store cannot be reached or cannot answer; the cause is kept."""


class StoredConversation(msgspec.Struct, frozen=True, kw_only=True):
    """A Dify conversation, whose it is, and what of a transcript it has seen.

    Times are Unix seconds. `scope` is the digest of model, caller, user and chat id;
    `match_key` is the digest under which the next turn of the same transcript finds
    it, empty where no transcript is known to fit. `recent` holds the digests of the
    last messages that Dify has seen, 8 bytes each, oldest first.
    """

    id: str
    scope: str
    model: str
    caller: str
    user: str
    chat_id: str
    app_fingerprint: str
    conversation_id: str
    message_id: str = ""
    match_key: str = ""
    recent: bytes = b""
    shows_history: bool = False
    turns: int = 0
    created_at: float = 0.0
    updated_at: float = 0.0
    next_turn_at: float = 0.0
    """Before this no next turn may begin: Dify orders memory by whole seconds."""

    def stands_at(self, message_id: str) -> bool:
        """Whether nothing was said since this message of Dify's; not so where that is not known."""
        return bool(message_id and self.recent) and self.message_id == message_id


@dataclass(frozen=True, slots=True)
class StoreStatistics:
    """Counts and ages for people; `by_model` counts conversations."""

    conversations: int
    users: int
    turns: int
    by_model: Mapping[str, int]
    oldest_at: float | None
    newest_at: float | None


class ConversationStore(Protocol):
    """One turn at a time, over all threads, processes and machines that share the store.

    A claim is a random token that its holder invents. It belongs to one
    conversation and ends with `save`, `release` or `delete`. From `until` on another
    may take the conversation over, so that a holder that died blocks nobody for long;
    until one does, the late holder may still renew or save. "Newest" and "oldest" go
    by `updated_at`, and leave open which of two equal ones comes first. NUL and lone
    surrogates in a text are kept as U+FFFD. Every method may raise `StoreUnavailable`.
    """

    def claim_match(self, match_key: str, *, claim: str, until: float) -> StoredConversation | None:
        """Claim the newest conversation with this key that nobody holds; None where there is none.

        An empty key matches nothing, and so does a conversation whose holder died: what
        Dify has seen of it is not known.
        """
        ...

    def claim(self, id: str, *, claim: str, now: float, until: float) -> StoredConversation | None:
        """Claim one conversation; None where it is gone or claimed.

        One that is taken over from a holder that died comes, and stays, without
        `match_key` and `recent`.
        """
        ...

    def renew(self, id: str, *, claim: str, until: float) -> bool:
        """Hold a claim longer; False where it was lost."""
        ...

    def save(self, conversation: StoredConversation, *, claim: str) -> bool:
        """Write what a turn left, and end its claim.

        A conversation that is not there, new or deleted meanwhile, is inserted. One that
        is there is replaced only while `claim` holds it: False where the claim was lost,
        and nothing is written.
        """
        ...

    def release(self, id: str, *, claim: str) -> None:
        """End a claim and change nothing else; a claim that was lost is no error."""
        ...

    def find_by_scope(self, scope: str, limit: int) -> list[StoredConversation]:
        """The conversations of one chat that has an id, newest first, claimed ones too."""
        ...

    def find_by_conversation_id(self, caller: str, conversation_id: str) -> StoredConversation | None:
        """The newest one with Dify's id, among this caller's."""
        ...

    def find(self, id: str) -> StoredConversation | None:
        """One conversation."""
        ...

    def recent(self, limit: int) -> list[StoredConversation]:
        """The newest conversations of all callers."""
        ...

    def of_user(self, user: str, caller: str | None) -> list[StoredConversation]:
        """All conversations of one Dify user, of one caller or of all, newest first."""
        ...

    def all(self) -> Iterator[StoredConversation]:
        """Every conversation, oldest first, read in bounded pieces.

        One that a turn changes meanwhile may come twice; none is left out.
        """
        ...

    def delete(self, id: str) -> bool:
        """Forget one; False where there was none."""
        ...

    def delete_older_than(self, updated_before: float) -> int:
        """Forget what was last used before then; how many."""
        ...

    def delete_beyond(self, most: int) -> int:
        """Forget the oldest until at most `most` are left; how many."""
        ...

    def statistics(self) -> StoreStatistics:
        """Counts and ages."""
        ...

    def about(self) -> Mapping[str, object]:
        """What kind of store this is: `backend`, `schema_version`, `size_bytes` and the like; no secret."""
        ...

    def optimize(self) -> None:
        """Give back space and renew statistics, where the back end knows how."""
        ...

    def ping(self) -> None:
        """Raise `StoreUnavailable` unless the store answers."""
        ...

    def close(self) -> None:
        """Close this process's connections; the next use opens others."""
        ...
