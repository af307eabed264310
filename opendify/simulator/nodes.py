"""The events of a chatflow's or workflow's nodes, and of the run around them."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field

from opendify.simulator.events import envelope
from opendify.simulator.turns import Turn, stable_id

Json = dict[str, object]

_PARALLEL_KEYS = (
    "parallel_id",
    "parallel_start_node_id",
    "parent_parallel_id",
    "parent_parallel_start_node_id",
    "iteration_id",
)


@dataclass
class Node:
    """One node of a graph, in one run of it."""

    node_id: str
    node_type: str
    title: str
    index: int
    predecessor: str | None
    id: str = field(default_factory=lambda: str(uuid.uuid4()))


@dataclass
class NodeResult:
    """What a node ended with; `None` is written as each version writes nothing."""

    inputs: Json | None = None
    process: Json | None = None
    outputs: Json | None = None
    error: str | None = None
    tokens: int | None = None
    files: list[Json] = field(default_factory=list)


def system_variables(turn: Turn, *, started: bool) -> Json:
    """The run's inputs as the start node sees them; a chatflow learns its conversation only then."""
    quirks = turn.quirks
    chat = turn.conversation is not None
    turns = len(turn.world.store.messages_newest_first(turn.conversation.id)) if turn.conversation else 0
    variables: Json = dict(turn.inputs)
    variables |= {
        "sys.files": list(turn.files),
        "sys.user_id": turn.user,
        "sys.app_id": stable_id(turn.app_key),
    }
    variables |= {"sys.workflow_id": turn.workflow_id, "sys.workflow_run_id": turn.run_id}
    if chat:
        variables |= {"sys.query": turn.query, "sys.dialogue_count": turns - (not quirks.new_graph_engine)}
        if started or not quirks.new_graph_engine:
            variables["sys.conversation_id"] = turn.conversation.id if turn.conversation else None
    elif started and quirks.new_graph_engine:
        variables["sys.timestamp"] = int(turn.started_at)
    return variables


def workflow_started(turn: Turn, sequence_number: int) -> Json:
    fields: Json = {
        "id": turn.run_id,
        "workflow_id": turn.workflow_id,
        "inputs": system_variables(turn, started=False),
        "created_at": int(turn.started_at),
    }
    if turn.quirks.sequence_numbers:
        fields["sequence_number"] = sequence_number
    if turn.quirks.worker_streams:
        fields["reason"] = "initial"
    return graph_event(turn, "workflow_started", fields)


def workflow_finished(turn: Turn, sequence_number: int) -> Json:
    """Reads the turn's outcome, which must be complete."""
    outcome = turn.outcome
    failed = outcome.status == "failed" and turn.quirks.new_graph_engine
    fields: Json = {
        "id": turn.run_id,
        "workflow_id": turn.workflow_id,
        "status": outcome.status,
        "outputs": outcome.outputs,
        "error": outcome.error,
        "elapsed_time": outcome.elapsed_seconds,
        "total_tokens": outcome.total_tokens,
        "total_steps": outcome.total_steps,
        "created_by": {"id": turn.user_id, "user": turn.user},
        "created_at": int(turn.started_at),
        "finished_at": int(turn.world.clock()),
        "exceptions_count": int(failed),
        "files": files_in(outcome.outputs),
    }
    if turn.quirks.sequence_numbers:
        fields["sequence_number"] = sequence_number
    return graph_event(turn, "workflow_finished", fields)


def node_started(turn: Turn, node: Node) -> Json:
    fields = _node_fields(turn, node) | {
        "inputs": None,
        "created_at": int(turn.started_at),
        "extras": {},
    }
    fields |= _placement(turn)
    if turn.quirks.new_graph_engine:
        fields |= {"inputs_truncated": False, "agent_strategy": None}
    else:
        fields["parallel_run_id"] = None
    return graph_event(turn, "node_started", fields)


def node_finished(turn: Turn, node: Node, result: NodeResult) -> Json:
    nothing: Json | None = {} if turn.quirks.new_graph_engine else None
    fields = _node_fields(turn, node) | {
        "inputs": _or(result.inputs, nothing),
        "process_data": _or(result.process, nothing),
        "outputs": _or(result.outputs, nothing),
        "status": "failed" if result.error is not None else "succeeded",
        "error": result.error,
        "elapsed_time": turn.elapsed_seconds,
        "execution_metadata": _execution_metadata(result),
        "created_at": int(turn.started_at),
        "finished_at": int(turn.world.clock()),
        "files": result.files,
    }
    fields |= _placement(turn)
    if turn.quirks.new_graph_engine:
        fields |= dict.fromkeys(("inputs_truncated", "process_data_truncated", "outputs_truncated"), False)
    return graph_event(turn, "node_finished", fields)


def text_chunk(turn: Turn, text: str, selector: list[str]) -> Json:
    return envelope(turn, "text_chunk") | {"data": {"text": text, "from_variable_selector": selector}}


def reasoning_chunk(turn: Turn, reasoning: str, node_id: str, *, is_final: bool = False) -> Json:
    fields: Json = {
        "message_id": turn.message.id if turn.message else None,
        "reasoning": reasoning,
        "node_id": node_id,
        "is_final": is_final,
    }
    return envelope(turn, "reasoning_chunk") | {"data": fields}


def graph_event(turn: Turn, event: str, fields: Json) -> Json:
    return envelope(turn, event) | {"workflow_run_id": turn.run_id, "data": fields}


def _node_fields(turn: Turn, node: Node) -> Json:
    new = turn.quirks.new_graph_engine
    return {
        "id": node.id,
        "node_id": node.node_id,
        "node_type": node.node_type,
        "title": node.title,
        "index": 1 if new else node.index,
        "predecessor_node_id": None if new else node.predecessor,
    }


def _placement(turn: Turn) -> Json:
    if turn.quirks.new_graph_engine:
        return {"iteration_id": None, "loop_id": None}
    return dict.fromkeys(_PARALLEL_KEYS)


def files_in(outputs: Json | None) -> list[Json]:
    """The file objects among a run's outputs."""
    values = [
        part for value in (outputs or {}).values() for part in (value if isinstance(value, list) else [value])
    ]
    return [value for value in values if isinstance(value, dict) and "dify_model_identity" in value]


def _execution_metadata(result: NodeResult) -> Json | None:
    if result.tokens is None:
        return None
    return {"total_tokens": result.tokens, "total_price": "0.0000000", "currency": "USD"}


def _or(value: Json | None, nothing: Json | None) -> Json | None:
    return nothing if value is None else value
