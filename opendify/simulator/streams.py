"""What a version's transport makes of a run's events: worker streams, client aborts, faults."""

from __future__ import annotations

import uuid
from collections.abc import Generator, Iterator

from opendify.simulator.turns import PING, Turn, World

Json = dict[str, object]

_WORKER_ENDS = frozenset({"workflow_finished", "workflow_paused"})
_NO_END = "Workflow stream ended without a terminal event"


def through_worker(turn: Turn, stream: Iterator[Json]) -> Iterator[Json]:
    """A chatflow's or workflow's events as versions from 1.13.0 send them.

    The stream starts with a ping and is closed at the run's last workflow event;
    when none comes, versions before 1.15.0 fall silent, later ones make one up.
    """
    yield PING
    turn.world.stay_silent(turn.words.number("QUEUED"))
    for event in stream:
        if turn.quirks.chatflow_without_end and event["event"] == "message_end" and turn.outcome.total_steps:
            continue
        yield event
        if event["event"] in _WORKER_ENDS:
            return
    yield from end_without_terminal_event(turn.world, turn.run_id, turn.workflow_id, _NO_END)


def refused_by_worker(world: World, workflow_id: str, error: str) -> Generator[Json, None, None]:
    """The stream of a run that failed its validation in the worker."""
    yield PING
    yield from end_without_terminal_event(world, str(uuid.uuid4()), workflow_id, error)


def end_without_terminal_event(world: World, run_id: str, workflow_id: str, error: str) -> Iterator[Json]:
    if not world.quirks.synthetic_ends:
        world.stay_silent(world.options.silence_seconds)
        return
    now = int(world.clock())
    started: Json = {
        "id": run_id,
        "workflow_id": workflow_id,
        "inputs": {},
        "created_at": now,
        "reason": "initial",
    }
    yield _synthetic("workflow_started", run_id, started)
    finished: Json = {
        "id": run_id,
        "workflow_id": workflow_id,
        "status": "failed",
        "outputs": None,
        "error": error,
        "elapsed_time": 0.0,
        "total_tokens": 0,
        "total_steps": 0,
        "created_by": {},
        "created_at": now,
        "finished_at": now,
        "exceptions_count": 1,
        "files": [],
    }
    yield _synthetic("workflow_finished", run_id, finished)


def counted(turn: Turn, stream: Iterator[Json]) -> Generator[Json, None, None]:
    """Count a stream that its reader leaves early, and take the task off the list at the end.

    From 1.13.0 a chatflow or workflow goes on in its worker and its answer is
    stored all the same; every other answer is lost with its reader.
    """
    finished = False
    try:
        # Not `yield from`: that would close the run together with its reader.
        for event in stream:  # noqa: UP028
            yield event
        finished = True
    finally:
        if not finished:
            turn.world.store.count("aborted_streams")
            if turn.is_graph and turn.quirks.worker_streams:
                _run_to_the_end(stream)
        turn.world.store.remove_task(turn.task)


def _run_to_the_end(stream: Iterator[Json]) -> None:
    for _ in stream:
        pass


def _synthetic(event: str, run_id: str, fields: Json) -> Json:
    return {"event": event, "task_id": run_id, "workflow_run_id": run_id, "data": fields}
