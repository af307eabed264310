"""A turn's place, held until the turn ends."""

from typing import Final, Protocol

from msgspec import structs

from opendify.conversations.fingerprint import append_recent, fingerprint
from opendify.conversations.replay import later_turn_text
from opendify.ids import new_id
from opendify.stores.base import StoredConversation
from opendify.translate.dify_request import RunText, has_conversations
from opendify.translate.turn import HistoryMessage, ReplyStarted
from opendify.turns.request import CLAIM_SECONDS, TurnRequest, TurnTools, first_text, match_key, scope_of
from opendify.turns.standing import Fit, Search, Standing, find_known, new_row

_RENEW_AFTER_SECONDS: Final = 20.0


class HeldTurn(Protocol):
    """A turn's place, held until the turn ends: by `finish` or by `abandon`, once."""

    @property
    def user(self) -> str:
        """Dify's; an imported conversation keeps the one under which Dify knows it."""
        ...

    @property
    def conversation_id(self) -> str | None:
        """Dify's; None for a new one."""
        ...

    @property
    def memory_was_lost(self) -> bool:
        """True where the conversation starts empty though the client counts on its memory."""
        ...

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
    return ConversationTurn(request, tools)


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
        return first_text(self._request, self._tools, self._request.turn)

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
        """Raises as `begin_turn`."""
        self._request = request
        self._tools = tools
        self._store = tools.store
        self._claim = new_id()
        self._began_at = self._claimed_at = tools.now()
        self._scope = scope_of(request)
        self._started: ReplyStarted | None = None
        self._next_turn_at = 0.0
        self._stand(Search(request, tools, self._scope, self._claim).find())
        if self._standing.row:
            tools.renewal.add(self)
            self._await_turn(self._standing.row)

    def _stand(self, standing: Standing) -> None:
        self._standing = standing
        self.user = standing.user
        self.conversation_id = standing.conversation_id
        self.memory_was_lost = standing.memory_was_lost

    @property
    def text(self) -> RunText:
        """See `HeldTurn.text`."""
        request, turn, recovered = self._request, self._request.turn, self._standing.recovered
        if self.conversation_id is None:
            shown = structs.replace(turn, history=recovered) if recovered else turn
            return first_text(request, self._tools, shown)
        max_chars = self._tools.replay_max_chars
        return later_turn_text(
            turn, request.app, request.profile, max_chars=max_chars, templates=self._tools.templates
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
        before = self._standing
        if before.fit.is_named:
            return False
        if before.row:
            self._tools.renewal.remove(self)
            self._store.delete(before.row.id)
        memory_was_lost = bool(before.conversation_id) and not self._request.turn.history
        self._stand(
            Standing(
                self._request.user,
                shows_history=before.shows_history,
                recovered=before.recovered,
                memory_was_lost=memory_was_lost,
            )
        )
        self._started, self._next_turn_at = None, 0.0
        return True

    def keep(self) -> None:
        """See `HeldTurn.keep`."""
        now, row = self._tools.now(), self._standing.row
        if row and now >= self._claimed_at + _RENEW_AFTER_SECONDS:
            self._claimed_at = now
            self._store.renew(row.id, claim=self._claim, until=now + CLAIM_SECONDS)

    def finish(self, answer: str) -> None:
        """See `HeldTurn.finish`."""
        self._tools.renewal.remove(self)
        turn, standing = self._request.turn, self._standing
        if turn.newest is None:
            self.abandon(may_have_begun=True)
            return
        said = [turn.newest, HistoryMessage("assistant", answer)]
        if standing.fit is Fit.EXACT:
            shown = [*turn.history, *said]
            transcript = fingerprint(shown)
            key = match_key(self._request, self._scope, transcript, shown)
            self._save(key, transcript.recent, self._tools.now())
        else:
            seen = standing.row.recent if standing.row else b""
            self._save("", append_recent(seen, fingerprint(said).recent), self._tools.now())

    def abandon(self, *, may_have_begun: bool) -> None:
        """See `HeldTurn.abandon`.

        No transcript fits the conversation any more: the next turn replays what the
        client shows, or, where it shows nothing, goes on with what Dify holds.
        """
        self._tools.renewal.remove(self)
        row = self._standing.row
        if self._standing.fit is Fit.RESERVED and row and not self._started:
            self._store.delete(row.id)  # An id that Dify did not confirm is nobody's.
        elif self._started or may_have_begun:
            # It may end long after the client went on elsewhere, and must not come before that.
            self._save("", b"", self._began_at)
        elif row:
            self._store.release(row.id, claim=self._claim)

    def _await_turn(self, row: StoredConversation) -> None:
        """No two turns in one second; a clock set back holds nobody for longer than the rule needs."""
        wait = min(row.next_turn_at - self._tools.now(), self._tools.spacing_seconds)
        if wait > 0:
            self._tools.sleep(wait)

    def _save(self, match_key: str, recent: bytes, updated_at: float) -> None:
        started, now = self._started or ReplyStarted(task_id=None), self._tools.now()
        conversation_id = started.conversation_id or self.conversation_id
        row = self._standing.row
        if not conversation_id or not (self._started or row):
            return
        before = self._stored_after_all(conversation_id) or row or new_row(self._scope, conversation_id, now)
        moved = structs.replace(
            before,
            match_key=match_key,
            recent=recent,
            shows_history=before.shows_history or self._standing.shows_history,
            turns=before.turns + 1,
            message_id=started.message_id or before.message_id,
            updated_at=updated_at,
            next_turn_at=self._next_turn_at or now + self._tools.spacing_seconds,
        )
        self._store.save(moved, claim=self._claim)

    def _stored_after_all(self, conversation_id: str) -> StoredConversation | None:
        """The row of a named conversation that the store, being down, did not find at first."""
        row, fit = self._standing.row, self._standing.fit
        if not fit.is_named or (row and fit is Fit.NAMED):
            return None
        found = find_known(self._request, self._tools, conversation_id)
        if found is None or (row and found.id == row.id):
            return None
        if row:
            self._store.delete(row.id)
        now = self._tools.now()
        taken = self._store.claim(found.id, claim=self._claim, now=now, until=now + CLAIM_SECONDS)
        return taken if isinstance(taken, StoredConversation) else None
