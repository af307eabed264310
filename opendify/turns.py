"""Each turn's conversation: found, claimed, moved on when the turn ends, begun anew where Dify lost it."""

import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from opendify.conversations.fingerprint import (
    MESSAGE_DIGEST_BYTES,
    MOST_RECENT_MESSAGES,
    context_digest,
    fingerprint,
)
from opendify.conversations.identity import ClientContext
from opendify.conversations.matching import Scope, SeenConversation, continued_by_chat
from opendify.conversations.replay import Templates, first_turn_text, later_turn_text
from opendify.errors import GatewayError, RateLimited
from opendify.records import AppProfile, Caller, Clock
from opendify.settings import DifyApp
from opendify.stores.base import StoredConversation
from opendify.stores.forgiving import ForgivingStore
from opendify.translate.dify_request import RunText, has_conversations
from opendify.translate.turn import HistoryMessage, ReplyStarted, Turn

# A claim outlives its holder's death by at most this; a living holder renews it in time.
CLAIM_SECONDS = 60.0
_RENEW_AFTER_SECONDS = 20.0
_MOST_CONVERSATIONS_OF_A_CHAT = 16


@dataclass(frozen=True, slots=True)
class TurnRequest:
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
    now: Clock = time.time
    sleep: Callable[[float], None] = time.sleep


class HeldTurn(Protocol):
    """A turn's place, held until the turn ends: by `finish` or by `abandon`, once."""

    text: RunText
    conversation_id: str | None
    memory_was_lost: bool
    """True where the conversation starts empty though the client counts on its memory."""

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
    named = context.conversation_id or _known(request, tools)
    if named:
        held.continue_named(named)
    else:
        held.continue_matching()
    return held


def _known(request: TurnRequest, tools: TurnTools) -> str:
    """A body's `conversation_id`, if it is one of Dify's that this caller was given."""
    maybe = request.context.maybe_conversation_id
    return maybe if maybe and tools.store.find_by_conversation_id(request.caller.id, maybe) else ""


class FreeTurn:
    """A turn that nobody continues: of an app without memory, or in a conversation that is thrown away."""

    def __init__(self, request: TurnRequest, tools: TurnTools) -> None:
        self._request = request
        self._tools = tools
        self._thrown_away: str | None = None
        self.text = _first_text(request, tools, request.turn)
        self.conversation_id: str | None = None
        self.memory_was_lost = False

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
        turn, context = request.turn, request.context
        self._request = request
        self._tools = tools
        self._claim = secrets.token_hex(12)
        self._claimed_at = tools.now()
        self._conversation: StoredConversation | None = None
        self._is_named = False
        self._fits_exactly = True
        self._shows_history = bool(turn.history)
        self._scope = Scope(
            model=request.app.name,
            app_fingerprint=request.app.fingerprint,
            caller=request.caller.id,
            user=request.user,
            chat_id=context.chat_id,
        )
        self._history = fingerprint(turn.history)
        self._started: ReplyStarted | None = None
        self._next_turn_at = 0.0
        self.conversation_id: str | None = None
        self.memory_was_lost = False
        self.text = _first_text(request, tools, turn)

    def continue_named(self, conversation_id: str) -> None:
        """Continue the conversation that the request names; Dify itself says whether it is the user's.

        Raises:
            RateLimited: It is in use.
        """
        self._is_named, self._fits_exactly = True, False
        store = self._tools.store
        failures = store.failures
        known = store.find_by_conversation_id(self._request.caller.id, conversation_id)
        if known and not self._take(known.id) and store.failures == failures:
            raise RateLimited("This conversation is answering another request", retry_after_seconds=2)
        self._continue(conversation_id)

    def continue_matching(self) -> None:
        """Continue what fits by the rules of `conversations.matching`, if anything does."""
        turn = self._request.turn
        if turn.history:
            now = self._tools.now()
            found = self._tools.store.claim_match(
                self._match_key(turn.history), claim=self._claim, until=now + CLAIM_SECONDS
            )
            if found:
                self._hold(found)
                return
        if self._request.context.chat_id:
            self._continue_chat()

    def _continue_chat(self) -> None:
        heads = self._tools.store.find_by_scope(self._scope.key, _MOST_CONVERSATIONS_OF_A_CHAT)
        self._shows_history = self._shows_history or any(head.shows_history for head in heads)
        ids = continued_by_chat(
            self._history,
            [
                SeenConversation(head.id, head.app_fingerprint, head.recent, head.shows_history)
                for head in heads
            ],
            self._scope.app_fingerprint,
            sends_whole_transcripts=self._request.context.sends_whole_transcripts,
        )
        by_id = {head.id: head for head in heads}
        turn_shows_history = bool(self._request.turn.history)
        for each in ids:
            # A lone message goes on with whatever Dify holds; a window must still be what it has seen.
            expected = by_id[each].recent if turn_shows_history else None
            if self._take(each, unless_moved_from=expected):
                self._fits_exactly = False
                return
        counts_on_memory = not (self._shows_history or self._request.context.sends_whole_transcripts)
        if heads and counts_on_memory:
            self._recover_memory(heads)

    def _recover_memory(self, heads: Sequence[StoredConversation]) -> None:
        """A client that never shows its history counts on a conversation that cannot be continued."""
        usable = [head for head in heads if head.app_fingerprint == self._scope.app_fingerprint]
        try:
            read = self._tools.read_messages
            history = read(self._request.app, usable[0].conversation_id, usable[0].user) if usable else ()
        except GatewayError:
            history = ()
        self.memory_was_lost = not history
        self.text = _first_text(
            self._request, self._tools, replace(self._request.turn, history=tuple(history))
        )

    def _take(self, stored_id: str, *, unless_moved_from: bytes | None = None) -> bool:
        now = self._tools.now()
        taken = self._tools.store.claim(stored_id, claim=self._claim, now=now, until=now + CLAIM_SECONDS)
        if taken is None:
            return False
        if unless_moved_from is not None and taken.recent != unless_moved_from:
            self._tools.store.release(stored_id, claim=self._claim)
            return False
        self._hold(taken)
        return True

    def _hold(self, conversation: StoredConversation) -> None:
        self._conversation = conversation
        self._continue(conversation.conversation_id)
        # A clock set back must not hold anybody for longer than the rule needs.
        wait = min(conversation.next_turn_at - self._tools.now(), self._tools.spacing_seconds)
        if wait > 0:
            self._tools.sleep(wait)

    def _continue(self, conversation_id: str) -> None:
        self.conversation_id = conversation_id
        self.text = later_turn_text(
            self._request.turn,
            self._request.app,
            self._request.profile,
            max_chars=self._tools.replay_max_chars,
        )

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
            self._tools.store.delete(self._conversation.id)
        turn = self._request.turn
        self.memory_was_lost = bool(self.conversation_id) and not turn.history
        self._conversation, self.conversation_id, self._fits_exactly = None, None, True
        self.text = _first_text(self._request, self._tools, turn)
        return True

    def keep(self) -> None:
        """See `HeldTurn.keep`."""
        now = self._tools.now()
        if self._conversation and now >= self._claimed_at + _RENEW_AFTER_SECONDS:
            self._claimed_at = now
            self._tools.store.renew(self._conversation.id, claim=self._claim, until=now + CLAIM_SECONDS)

    def finish(self, answer: str) -> None:
        """See `HeldTurn.finish`."""
        turn = self._request.turn
        if turn.newest is None:
            self.abandon(may_have_begun=True)
            return
        said = [turn.newest, HistoryMessage("assistant", answer)]
        if self._fits_exactly:
            match_key = self._match_key([*turn.history, *said])
            recent = fingerprint([*turn.history, *said]).recent
        else:
            match_key = ""
            seen = self._conversation.recent if self._conversation else b""
            recent = (seen + fingerprint(said).recent)[-MOST_RECENT_MESSAGES * MESSAGE_DIGEST_BYTES :]
        self._save(match_key, recent)

    def abandon(self, *, may_have_begun: bool) -> None:
        """See `HeldTurn.abandon`.

        No transcript fits the conversation any more: the next turn replays what the
        client shows, or, where it shows nothing, goes on with what Dify holds.
        """
        if self._started or may_have_begun:
            self._save("", b"")
        elif self._conversation:
            self._tools.store.release(self._conversation.id, claim=self._claim)

    def _save(self, match_key: str, recent: bytes) -> None:
        started, now = self._started or ReplyStarted(task_id=None), self._tools.now()
        conversation_id = started.conversation_id or self.conversation_id
        if not conversation_id:
            return
        before = (
            self._conversation
            or self._stored_after_all(conversation_id)
            or StoredConversation(
                id=secrets.token_hex(12),
                scope=self._scope.key,
                model=self._scope.model,
                caller=self._scope.caller,
                user=self._scope.user,
                chat_id=self._scope.chat_id,
                app_fingerprint=self._scope.app_fingerprint,
                conversation_id=conversation_id,
                created_at=now,
            )
        )
        moved = replace(
            before,
            match_key=match_key,
            recent=recent,
            shows_history=before.shows_history or self._shows_history,
            turns=before.turns + 1,
            message_id=started.message_id or before.message_id,
            updated_at=now,
            next_turn_at=self._next_turn_at or now + self._tools.spacing_seconds,
        )
        self._tools.store.save(moved, claim=self._claim)

    def _stored_after_all(self, conversation_id: str) -> StoredConversation | None:
        """The row of a named conversation that the store, being down, did not find at first."""
        if not self._is_named:
            return None
        found = self._tools.store.find_by_conversation_id(self._scope.caller, conversation_id)
        now = self._tools.now()
        if found is None:
            return None
        return self._tools.store.claim(found.id, claim=self._claim, now=now, until=now + CLAIM_SECONDS)

    def _match_key(self, messages: Sequence[HistoryMessage]) -> str:
        turn = self._request.turn
        context = b"" if self._scope.chat_id else context_digest(turn.system, turn.inputs, messages)
        return self._scope.match_key(fingerprint(messages), context)


def _first_text(request: TurnRequest, tools: TurnTools, turn: Turn) -> RunText:
    return first_turn_text(
        turn, request.app, request.profile, max_chars=tools.replay_max_chars, templates=tools.templates
    )
