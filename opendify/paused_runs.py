"""Runs that wait for a person: remembered by the chat that asks, and found by its next turn."""

import contextlib
import hashlib
import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

import msgspec

from opendify.conversations.fingerprint import fingerprint
from opendify.dify.client import DifyClient
from opendify.dify.human_input import submit_form
from opendify.records import Clock
from opendify.stores.answers import AnswerStore, StoredAnswer
from opendify.stores.base import StoreUnavailable
from opendify.translate.dify_request import DifyRequest, build_resumption
from opendify.translate.human_input import INVITATION, FormAnswer, PausedRun, read_form_answer
from opendify.translate.turn import HistoryMessage
from opendify.turns.request import TurnRequest, match_key, scope_of
from opendify.wire.sse import encode_json

_GRAPH_MODES = frozenset({"advanced-chat", "workflow"})
_FIRST_VERSION = (1, 13)
_LONGEST_SECONDS = 7 * 86_400.0

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Resumption:
    """A paused run, and what its person answered."""

    paused: PausedRun
    answer: FormAnswer
    keys: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Kept:
    paused: PausedRun
    keys: tuple[str, ...]


class PausedRuns:
    """Keeps them in the store of answers, under digests of what the next turn will show.

    With no such store, or one that is down, nothing is found: a reply is an ordinary turn.
    """

    def __init__(self, store: AnswerStore | None, *, now: Clock) -> None:
        self._store = store
        self._now = now

    def answered(
        self,
        asked: TurnRequest,
        resumption: Resumption | None,
        answer: str,
        paused: PausedRun | None,
    ) -> None:
        """The turn ended with `answer`, which asks what `paused` waits for, if that is there."""
        if resumption:
            self._forget(resumption.keys)
        if paused:
            self._remember(asked, paused, answer)

    def _remember(self, asked: TurnRequest, paused: PausedRun, answer: str) -> None:
        if self._store is None or asked.turn.newest is None:
            return
        now = self._now()
        until = min(paused.expires_at or now + _LONGEST_SECONDS, now + _LONGEST_SECONDS)
        shown = [*asked.turn.history, asked.turn.newest, HistoryMessage("assistant", answer)]
        keys = [_shown_key(asked, shown), *_chat_keys(asked, paused.conversation_id)]
        outcome = encode_json({"paused": asdict(paused), "keys": keys})
        try:
            for key in keys:
                self._store.forget(key)
                self._store.begin(_row(key, asked.user, now, until), now=now, anew=True)
                self._store.finish(key, outcome, now=now, expires_at=until)
        except StoreUnavailable:
            _warn("a paused run could not be remembered", asked)

    def find(self, asked: TurnRequest) -> Resumption | None:
        """The run that the turn's message answers, if there is one and it does."""
        if self._store is None or not _may_be_asked(asked):
            return None
        try:
            return self._find(asked, self._store)
        except StoreUnavailable:
            _warn("a paused run could not be looked for", asked)
            return None

    def _forget(self, keys: Sequence[str]) -> None:
        if self._store is None:
            return
        with contextlib.suppress(StoreUnavailable):
            for key in keys:
                self._store.forget(key)

    def _find(self, asked: TurnRequest, store: AnswerStore) -> Resumption | None:
        history = asked.turn.history
        if history:
            keys = [_shown_key(asked, history)]
        else:
            keys = [*_chat_keys(asked, asked.context.conversation_id)]
        rows = (store.find(key, now=self._now()) for key in keys)
        kept = next((kept for row in rows if row and (kept := _read(row.outcome))), None)
        if kept is None:
            return None
        answer = read_form_answer(kept.paused, asked.turn.query)
        if answer:
            return Resumption(kept.paused, answer, kept.keys)
        if not history:
            # Where the client shows nothing, whatever is said next ends the question.
            self._forget(kept.keys)
        return None


def resume_run(
    client: DifyClient, asked: TurnRequest, resumption: Resumption | None, user: str
) -> DifyRequest | None:
    """Hand in what was answered; what tells the rest of the run, or None where none goes on."""
    if resumption is None:
        return None
    if not submit_form(client, asked.app, resumption.paused, resumption.answer, user):
        return None
    return build_resumption(resumption.paused.run_id, asked.profile.mode, user)


def _row(key: str, user: str, now: float, until: float) -> StoredAnswer:
    return StoredAnswer(
        id=key, key=key, fingerprint="", user=user, begun_at=now, claimed_until=now, expires_at=until
    )


def _warn(what: str, asked: TurnRequest) -> None:
    logger.warning(what, extra={"model": asked.app.name})


def _may_be_asked(asked: TurnRequest) -> bool:
    """Whether there is anything to look up at all: nearly always there is not."""
    if asked.profile.mode not in _GRAPH_MODES or _version(asked.profile.version) < _FIRST_VERSION:
        return False
    history = asked.turn.history
    if history:
        return history[-1].role == "assistant" and INVITATION in history[-1].text
    return bool(asked.context.chat_id or asked.context.conversation_id)


def _shown_key(asked: TurnRequest, messages: Sequence[HistoryMessage]) -> str:
    return _digest(match_key(asked, scope_of(asked), fingerprint(messages), messages))


def _chat_keys(asked: TurnRequest, conversation_id: str | None) -> Iterator[str]:
    """For clients that send nothing but their new message."""
    if asked.context.chat_id:
        yield _digest("chat", scope_of(asked).key, asked.app.fingerprint)
    if conversation_id:
        yield _digest("conversation", asked.caller.id, asked.user, conversation_id)


def _digest(*parts: str) -> str:
    return "form-" + hashlib.blake2b("\0".join(parts).encode("utf-8", "replace"), digest_size=16).hexdigest()


def _read(outcome: bytes | None) -> _Kept | None:
    with contextlib.suppress(ValueError):
        return msgspec.convert(json.loads(outcome or b""), _Kept)
    return None


def _version(version: str) -> tuple[int, ...]:
    """Of an unknown version everything is thinkable."""
    numbers = version.split(".")[:2]
    return tuple(map(int, numbers)) if all(number.isdigit() for number in numbers) else _FIRST_VERSION
