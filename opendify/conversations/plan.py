"""The one place that decides where a turn goes, and what Dify must be told for it."""

from dataclasses import dataclass

from opendify.conversations.replay import first_turn_text
from opendify.records import AppProfile
from opendify.settings import DifyApp
from opendify.translate.dify_request import RunText
from opendify.translate.turn import Turn


@dataclass(frozen=True, slots=True)
class Plan:
    """One run: in which conversation (None begins one), and with which text."""

    text: RunText
    conversation_id: str | None = None


def plan_run(turn: Turn, app: DifyApp, profile: AppProfile, *, replay_max_chars: int) -> Plan:
    """Begin a conversation for `turn`: the client's transcript is its memory, replayed into it."""
    return Plan(first_turn_text(turn, app, profile, max_chars=replay_max_chars))
