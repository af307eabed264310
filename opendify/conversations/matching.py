"""Which stored conversation a turn continues: the rules, as functions over what is stored.

| the request shows | it continues |
|---|---|
| exactly what a conversation has seen, plus the new message | that one |
| with a chat id: nothing but the new message | the chat's newest one, if this chat never showed history |
| with a chat id: the end of what a conversation has seen | that one: the client sends a sliding window |
| anything else | none: an edit, a regeneration, a branch, another model; the history is replayed |
"""

from collections.abc import Sequence
from functools import cached_property
from typing import Protocol, TypeVar

import msgspec

from opendify.conversations.fingerprint import MOST_RECENT_MESSAGES, Transcript, digest_of


class Scope(msgspec.Struct, frozen=True, dict=True):
    """Inside of what a conversation may be matched; nothing crosses it.

    `chat_id` is the client's name for the chat, empty where it has none.
    """

    model: str
    app_fingerprint: str
    caller: str
    user: str
    chat_id: str

    @cached_property
    def key(self) -> str:
        """The chat's digest; a changed app key keeps it, so that a lost memory can be told."""
        return digest_of(self.model, self.caller, self.user, self.chat_id)

    def match_key(self, transcript: Transcript, context: bytes) -> str:
        """The digest under which a conversation that has seen `transcript` is found.

        Without a chat id the `context` must be equal too.
        """
        told_apart = b"" if self.chat_id else context
        return digest_of(self.key, self.app_fingerprint, transcript.fingerprint.hex(), told_apart.hex())


class SeenConversation(Protocol):
    """What matching needs to know of a stored conversation."""

    @property
    def app_fingerprint(self) -> str: ...
    @property
    def recent(self) -> bytes: ...
    @property
    def shows_history(self) -> bool: ...


Seen = TypeVar("Seen", bound=SeenConversation)


def continued_by_chat(
    history: Transcript,
    conversations: Sequence[Seen],
    app_fingerprint: str,
    *,
    sends_whole_transcripts: bool,
) -> list[Seen]:
    """What a request with a chat id may continue where no transcript fits exactly, best first.

    Args:
        history: What the request shows before its new message.
        conversations: Those of the chat, newest first.
        sends_whole_transcripts: Whether the client is known to; then what differs is an edit.
    """
    usable = [each for each in conversations if each.app_fingerprint == app_fingerprint]
    if sends_whole_transcripts:
        return []
    if not history.recent:
        # Once a chat has shown its history, a lone message is an edit of the first.
        return [] if any(each.shows_history for each in conversations) else usable[:1]
    return [each for each in usable if _is_window(history, each.recent)]


def _is_window(history: Transcript, seen: bytes) -> bool:
    """Whether `history` is the end of what was seen, up to the last answer given.

    Of more messages than are kept only the last could be compared, and an earlier one
    may have been edited.
    """
    if history.length > MOST_RECENT_MESSAGES:
        return False
    if not history.ends_with_answer:
        return False
    return seen.endswith(history.recent)
