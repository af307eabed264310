"""Where a turn stands: in the conversation that its request continues, claimed for it, or in a new one."""

import contextlib
import hashlib
from collections.abc import Callable, Sequence
from enum import Enum, auto
from typing import Final

import msgspec
from msgspec import structs

from opendify.conversations.fingerprint import Transcript, fingerprint
from opendify.conversations.identity import Place
from opendify.conversations.matching import Scope, continued_by_chat
from opendify.errors import GatewayError, RateLimited
from opendify.ids import new_id
from opendify.stores.base import StoredConversation
from opendify.stores.forgiving import NotClaimed
from opendify.translate.turn import HistoryMessage
from opendify.turns.request import CLAIM_SECONDS, TurnRequest, TurnTools, match_key

_MOST_CONVERSATIONS_OF_A_CHAT: Final = 16
_RESERVED_SECONDS_AGO: Final = 300.0


class Fit(Enum):
    """What the request's transcript is to the conversation."""

    EXACT = auto()
    """Dify has seen just that, or nothing yet: the next turn is found by what this one shows."""
    LOOSE = auto()
    """Dify may hold more than the request shows."""
    NAMED = auto()
    """As `LOOSE`, since the request names the conversation."""
    RESERVED = auto()
    """As `NAMED`, and nobody knew the conversation: its row was made for this turn."""

    @property
    def is_named(self) -> bool:
        """Whether it may be this conversation only."""
        return self is Fit.NAMED or self is Fit.RESERVED


class Standing(msgspec.Struct, frozen=True):
    """Of one turn; without a `conversation_id` it begins a new conversation.

    `user` is Dify's, and `row` what is stored of the conversation, claimed; None where the store is
    down. `shows_history` is whether its chat ever showed any. `recovered` is a memory read back for a
    client that shows none.
    """

    user: str
    fit: Fit = Fit.EXACT
    row: StoredConversation | None = None
    conversation_id: str | None = None
    shows_history: bool = False
    recovered: tuple[HistoryMessage, ...] = ()
    memory_was_lost: bool = False


def find_known(request: TurnRequest, tools: TurnTools, conversation_id: str) -> StoredConversation | None:
    """The row of one of Dify's ids, if this caller was given it for this user."""
    found = tools.store.find_by_conversation_id(request.caller.id, conversation_id)
    return found if found and found.user == request.user else None


def new_row(scope: Scope, conversation_id: str, now: float) -> StoredConversation:
    """What is stored of a conversation that was not, before its first turn."""
    return StoredConversation(
        id=new_id(),
        scope=scope.key,
        model=scope.model,
        caller=scope.caller,
        user=scope.user,
        chat_id=scope.chat_id,
        app_fingerprint=scope.app_fingerprint,
        conversation_id=conversation_id,
        created_at=now,
    )


class Search:
    """Looks for the conversation that a request continues, and claims it."""

    def __init__(self, request: TurnRequest, tools: TurnTools, scope: Scope, claim: str) -> None:
        self._request = request
        self._tools = tools
        self._scope = scope
        self._claim = claim
        self._shows_history = bool(request.turn.history)

    def find(self) -> Standing:
        """Where the turn stands.

        Raises:
            RateLimited: The conversation that the request names is in use.
        """
        context = self._request.context
        named = context.conversation_id or context.maybe_conversation_id
        known = find_known(self._request, self._tools, named) if named else None
        if context.conversation_id:
            return self._named(named, known)
        if context.follows:
            return self._after(context.follows) or self._new()
        return (self._known(known) if known else None) or self._matching()

    def _named(self, conversation_id: str, known: StoredConversation | None) -> Standing:
        """In the conversation that the request names; Dify itself says whether it is the user's."""
        row_id, fit = (known.id, Fit.NAMED) if known else self._reserve(conversation_id)
        taken = self._take(row_id)
        if taken == "taken":
            raise RateLimited("This conversation is answering another request", retry_after_seconds=2)
        row = None if taken == "unknown" else taken
        return self._standing(fit, row, conversation_id)

    def _known(self, known: StoredConversation) -> Standing | None:
        """In a conversation that the body names, if it is this app's and free."""
        taken = self._take(known.id) if self._is_of_app(known) else None
        return self._standing(Fit.LOOSE, taken) if isinstance(taken, StoredConversation) else None

    def _after(self, place: Place) -> Standing | None:
        """Where an answer left its conversation; where that went on, a new one branches off."""
        conversation_id = place.conversation_id
        known = find_known(self._request, self._tools, conversation_id) if conversation_id else None
        if known is None or not self._is_of_app(known):
            return None
        taken = self._take(known.id, if_fits=lambda taken: taken.stands_at(place.message_id))
        return self._standing(Fit.EXACT, taken) if isinstance(taken, StoredConversation) else None

    def _is_of_app(self, known: StoredConversation) -> bool:
        return (known.model, known.app_fingerprint) == (self._scope.model, self._scope.app_fingerprint)

    def _new(self) -> Standing:
        return Standing(self._request.user, shows_history=self._shows_history)

    def _reserve(self, conversation_id: str) -> tuple[str, Fit]:
        """A row for a conversation that is not known yet, under one id for all who name it at once."""
        place = f"{self._scope.key}\0{conversation_id}"
        digest = hashlib.blake2b(place.encode("utf-8", "replace"), digest_size=12)
        now = self._tools.now()
        row = structs.replace(
            new_row(self._scope, conversation_id, now),
            id=digest.hexdigest(),
            # Behind a row that the store, being down, did not find, but not so old as to be forgotten.
            updated_at=now - _RESERVED_SECONDS_AGO,
            # When its last turn was is not known: it may have been just now.
            next_turn_at=now + self._tools.spacing_seconds,
        )
        was_reserved = self._tools.store.save(row, claim=self._claim)
        return row.id, Fit.RESERVED if was_reserved else Fit.NAMED

    def _matching(self) -> Standing:
        """In what fits by the rules of `conversations.matching`, if anything does."""
        request, history = self._request, self._request.turn.history
        shown = fingerprint(history)
        if history:
            key = match_key(request, self._scope, shown, history)
            until = self._tools.now() + CLAIM_SECONDS
            found = self._tools.store.claim_match(key, claim=self._claim, until=until)
            if found:
                return self._standing(Fit.EXACT, found)
        if self._scope.chat_id:
            return self._in_chat(shown)
        return self._new()

    def _in_chat(self, shown: Transcript) -> Standing:
        request, history = self._request, self._request.turn.history
        heads = self._tools.store.find_by_scope(self._scope.key, _MOST_CONVERSATIONS_OF_A_CHAT)
        self._shows_history = self._shows_history or any(head.shows_history for head in heads)
        sends_whole = request.context.sends_whole_transcripts
        candidates = continued_by_chat(
            shown, heads, self._scope.app_fingerprint, sends_whole_transcripts=sends_whole
        )
        for each in candidates:
            # A lone message goes on with whatever Dify holds; a window must still be what it has seen.
            taken = self._take(each.id, if_fits=_has_seen(each.recent) if history else None)
            if isinstance(taken, StoredConversation):
                return self._standing(Fit.LOOSE, taken)
        if not heads or self._shows_history or sends_whole:
            return self._new()
        recovered = self._recover_memory(heads)
        return Standing(request.user, recovered=recovered, memory_was_lost=not recovered)

    def _recover_memory(self, heads: Sequence[StoredConversation]) -> tuple[HistoryMessage, ...]:
        """For a client that never shows its history, and counts on a conversation that is not to be had."""
        usable = [head for head in heads if head.app_fingerprint == self._scope.app_fingerprint]
        with contextlib.suppress(GatewayError):
            for head in usable[:1]:
                return tuple(self._tools.read_messages(self._request.app, head.conversation_id, head.user))
        return ()

    def _take(
        self, stored_id: str, *, if_fits: Callable[[StoredConversation], bool] | None = None
    ) -> StoredConversation | NotClaimed:
        store, now = self._tools.store, self._tools.now()
        taken = store.claim(stored_id, claim=self._claim, now=now, until=now + CLAIM_SECONDS)
        if taken == "taken" or taken == "unknown":
            return taken
        if if_fits is not None and not if_fits(taken):
            store.release(stored_id, claim=self._claim)
            return "taken"
        return taken

    def _standing(
        self, fit: Fit, row: StoredConversation | None, conversation_id: str | None = None
    ) -> Standing:
        # One that is only named may be another person's, which Dify must be able to tell.
        is_of_chat = row is not None and row.scope == self._scope.key
        return Standing(
            row.user if row and is_of_chat else self._request.user,
            fit,
            row,
            conversation_id or (row.conversation_id if row else None),
            self._shows_history,
        )


def _has_seen(recent: bytes) -> Callable[[StoredConversation], bool]:
    """Whether a conversation did not move on since it was found."""
    return lambda taken: taken.recent == recent
