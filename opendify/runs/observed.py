"""What a reply tells of itself to those who watch the service."""

from opendify.telemetry.observation import Observation
from opendify.translate.turn import ReplyEnded, ReplyStarted


def observe_start(observation: Observation, started: ReplyStarted) -> None:
    """Dify took the turn on."""
    observation.answered_by = started.answered_by or observation.model


def observe_end(observation: Observation, ended: ReplyEnded) -> None:
    """The answer is whole."""
    observation.is_whole = True
    if ended.usage:
        observation.tokens(ended.usage.prompt_tokens, ended.usage.completion_tokens)
