"""Each turn's conversation: found, claimed, moved on when the turn ends, begun anew where Dify lost it."""

import contextlib
import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol

import msgspec
from msgspec import structs

from opendify.conversations.fingerprint import Transcript, append_recent, context_digest, fingerprint
from opendify.conversations.identity import ClientContext, Place
from opendify.conversations.matching import Scope, continued_by_chat
from opendify.conversations.replay import Templates, first_turn_text, later_turn_text
from opendify.errors import GatewayError, RateLimited
from opendify.ids import new_id
from opendify.records import AppProfile, Caller, Clock
from opendify.settings import DifyApp
from opendify.stores.base import StoredConversation
from opendify.stores.forgiving import ForgivingStore, NotClaimed
from opendify.stores.renewal import ClaimRenewal
from opendify.translate.dify_request import RunText, has_conversations
from opendify.translate.turn import HistoryMessage, ReplyStarted, Turn

# A claim outlives its holder's death by at most this; a living holder renews it in time.
CLAIM_SECONDS = 60.0
_RENEW_AFTER_SECONDS = 20.0
_MOST_CONVERSATIONS_OF_A_CHAT = 16
_RESERVED_SECONDS_AGO = 300.0


class TurnRequest(msgspec.Struct, frozen=True):
    """One turn with all that decides where it goes. `user` is Dify's."""

    turn: Turn
    app: DifyApp
    profile: AppProfile
    caller: Caller
    user: str
    context: ClientContext


class MessageReader(Protocol):
    """Reads back what Dify knows."""

    def __call__(self, app: DifyApp, conversation_id: str, user: str) -> Sequence[HistoryMessage]:
        """The messages of a conversation, oldest first; raises `GatewayError`."""
        ...


@dataclass(frozen=True, slots=True)
class TurnTools:
    """What turns need besides their request.

    `spacing_seconds` is the resolution of Dify's message times, by which it orders
    memory: two turns of one conversation within it would mix up. `now` is Unix
    time, which machines that share a store compare.
    """

    store: ForgivingStore
    read_messages: MessageReader
    delete_conversation: Callable[[DifyApp, str, str], None]
    """App, conversation id and user; takes its time in the background, and raises nothing."""
    replay_max_chars: int
    spacing_seconds: float
    templates: Templates = field(default_factory=Templates)
    renewal: ClaimRenewal = field(default_factory=ClaimRenewal)
    now: Clock = time.time
    sleep: Callable[[float], None] = time.sleep


class HeldTurn(Protocol):
    """A turn's place, held until the turn ends: by `finish` or by `abandon`, once."""

    user: str
    """Dify's; an imported conversation keeps the one under which Dify knows it."""
    conversation_id: str | None
    memory_was_lost: bool
    """True where the conversation starts empty though the client counts on its memory."""

    @property
    def text(self) -> RunText:
        """What Dify is told."""
        ...

    def started(self, reply: ReplyStarted) -> bool:
        """Dify accepted the turn; False where it did so in another conversation than was asked for."""
        ...

    def begin_anew(self) -> bool:
        """The conversation is gone: plan a new one; False where the client named that very one."""
        ...

    def keep(self) -> None:
        """Hold the place longer; to be called now and then while the turn goes on."""
        ...

    def finish(self, answer: str) -> None:
        """Dify holds the turn, and the client was given exactly `answer`."""
        ...

    def abandon(self, *, may_have_begun: bool) -> None:
        """What Dify holds of the turn is not what the client was given, or not known."""
        ...


def begin_turn(request: TurnRequest, tools: TurnTools) -> HeldTurn:
    """Where the turn goes; a conversation that it continues is claimed for it.

    Raises:
        RateLimited: The conversation that the request names is in use.
    """
    context = request.context
    if not has_conversations(request.profile.mode) or context.is_task or context.is_temporary:
        return FreeTurn(request, tools)
    held = ConversationTurn(request, tools)
    named = context.conversation_id or context.maybe_conversation_id
    known = find_known(request, tools, named) if named else None
    if context.conversation_id:
        held.continue_named(named, known)
    elif context.follows:
        held.continue_from(context.follows)
    elif known is None or not held.continue_known(known):
        held.continue_matching()
    return held


def find_known(request: TurnRequest, tools: TurnTools, conversation_id: str) -> StoredConversation | None:
    """The row of one of Dify's ids, if this caller was given it for this user."""
    found = tools.store.find_by_conversation_id(request.caller.id, conversation_id)
    return found if found and found.user == request.user else None


class FreeTurn:
    """A turn that nobody continues: of an app without memory, or in a conversation that is thrown away."""

    def __init__(self, request: TurnRequest, tools: TurnTools) -> None:
        self._request = request
        self._tools = tools
        self._thrown_away: str | None = None
        self.user = request.user
        self.conversation_id: str | None = None
        self.memory_was_lost = False

    @property
    def text(self) -> RunText:
        """See `HeldTurn.text`."""
        return _first_text(self._request, self._tools, self._request.turn)

    def started(self, reply: ReplyStarted) -> bool:
        """See `HeldTurn.started`."""
        self._thrown_away = reply.conversation_id
        return True

    def begin_anew(self) -> bool:
        """See `HeldTurn.begin_anew`."""
        return False

    def keep(self) -> None:
        """Nothing is held."""

    def finish(self, answer: str) -> None:  # noqa: ARG002 - Nobody will look for it.
        """See `HeldTurn.finish`."""
        self.abandon(may_have_begun=True)

    def abandon(self, *, may_have_begun: bool) -> None:  # noqa: ARG002 - What never began has no id.
        """See `HeldTurn.abandon`."""
        if self._thrown_away:
            self._tools.delete_conversation(self._request.app, self._thrown_away, self._request.user)
            self._thrown_away = None


class ConversationTurn:
    """A turn whose conversation is remembered."""

    def __init__(self, request: TurnRequest, tools: TurnTools) -> None:
        self._request = request
        self._tools = tools
        self._store = tools.store
        self._claim = new_id()
        self._began_at = self._claimed_at = tools.now()
        self._scope = scope_of(request)
        self._history = fingerprint(request.turn.history)
        self._conversation: StoredConversation | None = None
        self._is_named = False
        self._was_reserved = False
        self._fits_exactly = True
        self._shows_history = bool(request.turn.history)
        self._recovered: tuple[HistoryMessage, ...] = ()
        self._started: ReplyStarted | None = None
        self._next_turn_at = 0.0
        self.user = request.user
        self.conversation_id: str | None = None
        self.memory_was_lost = False

    @property
    def text(self) -> RunText:
        """See `HeldTurn.text`."""
        request, turn = self._request, self._request.turn
        if self.conversation_id is None:
            whole = replace(turn, history=self._recovered) if self._recovered else turn
            return _first_text(request, self._tools, whole)
        max_chars = self._tools.replay_max_chars
        return later_turn_text(
            turn, request.app, request.profile, max_chars=max_chars, templates=self._tools.templates
        )

    def continue_named(self, conversation_id: str, known: StoredConversation | None) -> None:
        """Continue the conversation that the request names; Dify itself says whether it is the user's.

        Raises:
            RateLimited: It is in use.
        """
        self._is_named, self._fits_exactly = True, False
        if self._take(known.id if known else self._reserve(conversation_id)) == "taken":
            raise RateLimited("This conversation is answering another request", retry_after_seconds=2)
        self.conversation_id = conversation_id

    def continue_known(self, known: StoredConversation) -> bool:
        """Continue a conversation that the body names, if it is this app's and free."""
        if not self._is_of_app(known):
            return False
        self._fits_exactly = self._take(known.id) != "held"
        return not self._fits_exactly

    def continue_from(self, place: Place) -> None:
        """Continue where an answer left its conversation; where that went on, a new one branches off."""
        conversation_id = place.conversation_id
        known = find_known(self._request, self._tools, conversation_id) if conversation_id else None
        if known and self._is_of_app(known):
            self._take(known.id, if_fits=lambda taken: taken.stands_at(place.message_id))

    def _is_of_app(self, known: StoredConversation) -> bool:
        return (known.model, known.app_fingerprint) == (self._scope.model, self._scope.app_fingerprint)

    def _reserve(self, conversation_id: str) -> str:
        """A row for a conversation that is not known yet, under one id for all who name it at once."""
        place = f"{self._scope.key}\0{conversation_id}"
        digest = hashlib.blake2b(place.encode("utf-8", "replace"), digest_size=12)
        now = self._tools.now()
        row = structs.replace(
            self._new_row(conversation_id, now),
            id=digest.hexdigest(),
            # Behind a row that the store, being down, did not find, but not so old as to be forgotten.
            updated_at=now - _RESERVED_SECONDS_AGO,
            # When its last turn was is not known: it may have been just now.
            next_turn_at=now + self._tools.spacing_seconds,
        )
        self._was_reserved = self._store.save(row, claim=self._claim)
        return row.id

    def continue_matching(self) -> None:
        """Continue what fits by the rules of `conversations.matching`, if anything does."""
        history = self._request.turn.history
        if history:
            match_key = self._match_key(self._history, history)
            until = self._tools.now() + CLAIM_SECONDS
            found = self._store.claim_match(match_key, claim=self._claim, until=until)
            if found:
                self._hold(found)
                return
        if self._scope.chat_id:
            self._continue_chat()

    def _continue_chat(self) -> None:
        heads = self._store.find_by_scope(self._scope.key, _MOST_CONVERSATIONS_OF_A_CHAT)
        self._shows_history = self._shows_history or any(head.shows_history for head in heads)
        sends_whole = self._request.context.sends_whole_transcripts
        candidates = continued_by_chat(
            self._history, heads, self._scope.app_fingerprint, sends_whole_transcripts=sends_whole
        )
        for each in candidates:
            # A lone message goes on with whatever Dify holds; a window must still be what it has seen.
            expected = each.recent if self._request.turn.history else None
            if self._take(each.id, if_fits=_stands_behind(expected)) == "held":
                self._fits_exactly = False
                return
        if heads and not (self._shows_history or sends_whole):
            self._recover_memory(heads)

    def _recover_memory(self, heads: Sequence[StoredConversation]) -> None:
        """A client that never shows its history counts on a conversation that cannot be continued."""
        usable = [head for head in heads if head.app_fingerprint == self._scope.app_fingerprint]
        with contextlib.suppress(GatewayError):
            for head in usable[:1]:
                messages = self._tools.read_messages(self._request.app, head.conversation_id, head.user)
                self._recovered = tuple(messages)
        self.memory_was_lost = not self._recovered

    def _take(
        self, stored_id: str, *, if_fits: Callable[[StoredConversation], bool] = lambda _: True
    ) -> Literal["held"] | NotClaimed:
        now = self._tools.now()
        taken = self._store.claim(stored_id, claim=self._claim, now=now, until=now + CLAIM_SECONDS)
        if taken == "taken" or taken == "unknown":
            return taken
        if not if_fits(taken):
            self._store.release(stored_id, claim=self._claim)
            return "taken"
        self._hold(taken)
        return "held"

    def _hold(self, conversation: StoredConversation) -> None:
        self._conversation = conversation
        self._tools.renewal.add(self)
        if conversation.scope == self._scope.key:
            # One that is only named may be another person's, which Dify must be able to tell.
            self.user = conversation.user
        self.conversation_id = conversation.conversation_id
        # A clock set back must not hold anybody for longer than the rule needs.
        wait = min(conversation.next_turn_at - self._tools.now(), self._tools.spacing_seconds)
        if wait > 0:
            self._tools.sleep(wait)

    def started(self, reply: ReplyStarted) -> bool:
        """See `HeldTurn.started`; Dify 1.15.0 silently begins a new conversation for one that is gone."""
        if self.conversation_id and reply.conversation_id not in (None, self.conversation_id):
            return False
        self._started = reply
        # Dify dated the message before it spoke, so that this much later is surely another second.
        self._next_turn_at = self._tools.now() + self._tools.spacing_seconds
        return True

    def begin_anew(self) -> bool:
        """See `HeldTurn.begin_anew`; the client's own transcript is replayed, if it shows one."""
        if self._is_named:
            return False
        if self._conversation:
            self._tools.renewal.remove(self)
            self._store.delete(self._conversation.id)
        self.memory_was_lost = bool(self.conversation_id) and not self._request.turn.history
        self._conversation, self.conversation_id, self._fits_exactly = None, None, True
        self._started, self._next_turn_at = None, 0.0
        self.user = self._request.user
        return True

    def keep(self) -> None:
        """See `HeldTurn.keep`."""
        now = self._tools.now()
        if self._conversation and now >= self._claimed_at + _RENEW_AFTER_SECONDS:
            self._claimed_at = now
            self._store.renew(self._conversation.id, claim=self._claim, until=now + CLAIM_SECONDS)

    def finish(self, answer: str) -> None:
        """See `HeldTurn.finish`."""
        self._tools.renewal.remove(self)
        turn = self._request.turn
        if turn.newest is None:
            self.abandon(may_have_begun=True)
            return
        said = [turn.newest, HistoryMessage("assistant", answer)]
        if self._fits_exactly:
            shown = [*turn.history, *said]
            transcript = fingerprint(shown)
            self._save(self._match_key(transcript, shown), transcript.recent, self._tools.now())
        else:
            seen = self._conversation.recent if self._conversation else b""
            self._save("", append_recent(seen, fingerprint(said).recent), self._tools.now())

    def abandon(self, *, may_have_begun: bool) -> None:
        """See `HeldTurn.abandon`.

        No transcript fits the conversation any more: the next turn replays what the
        client shows, or, where it shows nothing, goes on with what Dify holds.
        """
        self._tools.renewal.remove(self)
        if self._was_reserved and self._conversation and not self._started:
            self._store.delete(self._conversation.id)  # An id that Dify did not confirm is nobody's.
        elif self._started or may_have_begun:
            # It may end long after the client went on elsewhere, and must not come before that.
            self._save("", b"", self._began_at)
        elif self._conversation:
            self._store.release(self._conversation.id, claim=self._claim)

    def _save(self, match_key: str, recent: bytes, updated_at: float) -> None:
        started, now = self._started or ReplyStarted(task_id=None), self._tools.now()
        conversation_id = started.conversation_id or self.conversation_id
        if not conversation_id or not (self._started or self._conversation):
            return
        known = self._stored_after_all(conversation_id) or self._conversation
        before = known or self._new_row(conversation_id, now)
        moved = structs.replace(
            before,
            match_key=match_key,
            recent=recent,
            shows_history=before.shows_history or self._shows_history,
            turns=before.turns + 1,
            message_id=started.message_id or before.message_id,
            updated_at=updated_at,
            next_turn_at=self._next_turn_at or now + self._tools.spacing_seconds,
        )
        self._store.save(moved, claim=self._claim)

    def _new_row(self, conversation_id: str, now: float) -> StoredConversation:
        scope = self._scope
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

    def _stored_after_all(self, conversation_id: str) -> StoredConversation | None:
        """The row of a named conversation that the store, being down, did not find at first."""
        if not self._is_named or (self._conversation and not self._was_reserved):
            return None
        found = find_known(self._request, self._tools, conversation_id)
        if found is None or (self._conversation and found.id == self._conversation.id):
            return None
        if self._conversation:
            self._store.delete(self._conversation.id)
        now = self._tools.now()
        taken = self._store.claim(found.id, claim=self._claim, now=now, until=now + CLAIM_SECONDS)
        return taken if isinstance(taken, StoredConversation) else None

    def _match_key(self, transcript: Transcript, messages: Sequence[HistoryMessage]) -> str:
        return match_key(self._request, self._scope, transcript, messages)


def _stands_behind(recent: bytes | None) -> Callable[[StoredConversation], bool]:
    """Whether a conversation has seen these messages last; None are any."""
    return lambda taken: recent in (None, taken.recent)


def scope_of(request: TurnRequest) -> Scope:
    """Inside of what the turn's conversation may be matched."""
    return Scope(
        model=request.app.name,
        app_fingerprint=request.app.fingerprint,
        caller=request.caller.id,
        user=request.user,
        chat_id=request.context.chat_id,
    )


def match_key(
    request: TurnRequest, scope: Scope, transcript: Transcript, messages: Sequence[HistoryMessage]
) -> str:
    """Under what a conversation is found that has seen `messages`, whose digests `transcript` holds."""
    turn = request.turn
    context = b"" if scope.chat_id else context_digest(turn.system, turn.inputs, messages)
    return scope.match_key(transcript, context)


def _first_text(request: TurnRequest, tools: TurnTools, turn: Turn) -> RunText:
    return first_turn_text(
        turn, request.app, request.profile, max_chars=tools.replay_max_chars, templates=tools.templates
    )
