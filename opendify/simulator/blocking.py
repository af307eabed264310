"""The bodies of blocking answers."""

from __future__ import annotations

from opendify.simulator.errors import DifyError, invalid_param
from opendify.simulator.turns import Turn

Json = dict[str, object]

_EMPTY_ANSWER = (
    "1 validation error for Data\nanswer\n  Input should be a valid string "
    "[type=string_type, input_value=[], input_type=list]\n"
    "    For further information visit https://errors.pydantic.dev/2.11/v/string_type"
)


def build_blocking_body(turn: Turn) -> Json:
    """The body for a turn whose events have all been read.

    Raises:
        DifyError: The run failed; workflows never do, they say so in their body.
    """
    if turn.message is None:
        return _workflow_body(turn)
    if turn.outcome.paused is not None:
        return _paused_chatflow_body(turn)
    if turn.outcome.failure_code:
        raise DifyError(400, turn.outcome.failure_code, turn.outcome.error or "")
    if not turn.outcome.answer and not turn.is_graph and turn.quirks.empty_answer_breaks_blocking:
        raise invalid_param(_EMPTY_ANSWER)
    return _message_fields(turn) | {
        "mode": turn.app.mode,
        "answer": turn.outcome.answer,
        "metadata": turn.outcome.metadata,
        "created_at": int(turn.message.time),
    }


def _message_fields(turn: Turn) -> Json:
    message_id = turn.message.id if turn.message else None
    fields: Json = {"event": "message", "task_id": turn.task.id, "id": message_id, "message_id": message_id}
    if turn.conversation is not None:
        fields["conversation_id"] = turn.conversation.id
    return fields


def _workflow_body(turn: Turn) -> Json:
    outcome = turn.outcome
    paused = outcome.paused
    fields: Json = {
        "id": turn.run_id,
        "workflow_id": turn.workflow_id,
        "status": outcome.status,
        "outputs": outcome.outputs,
        "error": outcome.error,
        "elapsed_time": outcome.elapsed_seconds,
        "total_tokens": outcome.total_tokens,
        "total_steps": outcome.total_steps,
        "created_at": int(turn.started_at),
        "finished_at": None if paused else int(turn.world.clock()),
    }
    if paused and turn.quirks.pauses_when_blocking:
        fields |= {"paused_nodes": paused["paused_nodes"], "reasons": paused["reasons"]}
    return {"task_id": turn.task.id, "workflow_run_id": turn.run_id, "data": fields}


def _paused_chatflow_body(turn: Turn) -> Json:
    if not turn.quirks.pauses_when_blocking:
        raise invalid_param("queue listening stopped unexpectedly.")
    return _message_fields(turn) | {
        "event": "workflow_paused",
        "workflow_run_id": turn.run_id,
        "data": turn.outcome.paused,
    }
