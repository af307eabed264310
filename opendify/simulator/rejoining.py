"""What a run tells those who listen again, since 1.14.0: its state, what follows, or its end alone."""

from __future__ import annotations

from collections.abc import Generator, Iterator

from opendify.simulator.memory import RunLog
from opendify.simulator.turns import PING, Turn, World

Json = dict[str, object]

_TOLD_BY_STATE = frozenset(
    {"workflow_started", "node_started", "node_finished", "human_input_required", "workflow_paused"}
)
_OF_MESSAGES = frozenset({"conversation_id", "message_id", "created_at"})
_LOOKS_EVERY_SECONDS = 0.05


def logged(turn: Turn, stream: Iterator[Json]) -> Generator[Json, None, None]:
    """Keep what a run tells, whether anybody listens or not."""
    log = RunLog(turn.app_key, turn.user)
    turn.world.store.add_run_log(turn.run_id, log)
    try:
        for event in stream:
            log.events.append(event)
            yield event
    finally:
        log.is_over = True


def listen_again(log: RunLog, world: World, *, with_state: bool) -> Iterator[Json]:
    """The run as one hears it who comes now: text that was told before is not told again."""
    heard = len(log.events)
    finished = next((event for event in log.events if event["event"] == "workflow_finished"), None)
    if finished:
        # Of a run that is over there is no stream any more, only its row.
        yield {key: value for key, value in finished.items() if key not in _OF_MESSAGES}
        return
    yield PING
    if with_state:
        yield from _state(log.events[:heard])
    while not (log.is_over and heard == len(log.events)):
        for event in log.events[heard:]:
            heard += 1
            yield event
            if event["event"] in ("workflow_finished", "workflow_paused"):
                return
        world.sleep(_LOOKS_EVERY_SECONDS)


def _state(events: list[Json]) -> Iterator[Json]:
    """What was told of nodes; a chatflow's message has no words before its run is over."""
    for event in events:
        if event["event"] in _TOLD_BY_STATE:
            yield event
        if event["event"] == "workflow_started" and "message_id" in event:
            replaced = {key: event[key] for key in ("task_id", *_OF_MESSAGES)}
            yield {**replaced, "event": "message_replace", "answer": "", "reason": ""}
