"""What a turn asks for, and with what its conversation is looked for."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

import msgspec

from opendify.conversations.fingerprint import Transcript, context_digest
from opendify.conversations.identity import ClientContext
from opendify.conversations.matching import Scope
from opendify.conversations.replay import Templates, first_turn_text
from opendify.records import AppProfile, Caller, Clock
from opendify.settings import DifyApp
from opendify.stores.forgiving import ForgivingStore
from opendify.stores.renewal import ClaimRenewal
from opendify.translate.dify_request import RunText
from opendify.translate.turn import HistoryMessage, Turn

# A claim outlives its holder's death by at most this; a living holder renews it in time.
CLAIM_SECONDS: Final = 60.0


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


def first_text(request: TurnRequest, tools: TurnTools, turn: Turn) -> RunText:
    """What Dify is told of `turn` in a new conversation."""
    return first_turn_text(
        turn, request.app, request.profile, max_chars=tools.replay_max_chars, templates=tools.templates
    )
