"""How a run of a graph ends: finished, failed, stopped, paused; in each version's order of events."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator

from opendify.simulator import events, nodes
from opendify.simulator.graph_state import GraphRun
from opendify.simulator.memory import PausedForm
from opendify.simulator.model import count_tokens
from opendify.simulator.usage import build_usage, empty_usage, with_timings

Json = dict[str, object]


def finish(run: GraphRun, status: str, outputs: Json | None, error: str | None) -> Iterator[Json]:
    """The last events, for every status but `paused`."""
    outcome = run.turn.outcome
    outcome.status, outcome.error = status, error
    outcome.outputs = {} if outputs is None and run.turn.quirks.new_graph_engine else outputs
    outcome.total_tokens, outcome.total_steps = run.tokens, run.steps
    outcome.elapsed_seconds = run.turn.elapsed_seconds
    finished = nodes.workflow_finished(run.turn, run.sequence_number)
    if run.turn.message is None:
        _remember(run)
        yield finished
    elif status == "failed":
        yield from _fail_chatflow(run, finished, error or "")
    else:
        yield from _end_chatflow(run, finished, stopped=status == "stopped")


def pause(run: GraphRun, go_on: Callable[[], Iterator[Json]]) -> Iterator[Json]:
    """A human input node asks its question, and the stream ends; `go_on` is what follows the reply."""
    form = _build_form(run)
    waiting = PausedForm(run.turn.app_key, run.turn.user, run.turn.run_id, ("yes", "no"), go_on)
    run.turn.world.store.add_form(str(form["form_token"]), waiting)
    yield nodes.graph_event(run.turn, "human_input_required", form)
    outcome = run.turn.outcome
    outcome.status = "paused"
    outcome.paused = {
        "workflow_run_id": run.turn.run_id,
        "paused_nodes": ["human"],
        "outputs": {},
        "reasons": [form | {"TYPE": "human_input_required"}],
        "status": "paused",
        "created_at": int(run.turn.started_at),
        "elapsed_time": run.turn.elapsed_seconds,
        "total_tokens": 0,
        "total_steps": run.steps,
    }
    yield nodes.graph_event(run.turn, "workflow_paused", outcome.paused)


def _fail_chatflow(run: GraphRun, finished: Json, error: str) -> Iterator[Json]:
    message = f"Run failed: {error}"
    run.turn.store_failure(message, "invalid_param")
    yield finished
    yield events.error_event(run.turn, "invalid_param", 400, message)


def _end_chatflow(run: GraphRun, finished: Json, *, stopped: bool) -> Iterator[Json]:
    run.turn.store_answer("".join(run.said))
    end = events.end_event(run.turn, _end_metadata(run, stopped=stopped))
    if stopped or not run.turn.quirks.end_before_finished:
        yield from (finished, end)
    else:
        yield from (end, finished)


def _end_metadata(run: GraphRun, *, stopped: bool) -> Json:
    quirks = run.turn.quirks
    if stopped:
        usage = empty_usage(quirks)
    else:
        usage = build_usage(count_tokens(run.prompt), len(run.said), run.turn.elapsed_seconds, quirks)
    metadata = events.build_metadata(run.turn, with_timings(usage, quirks) if run.said else usage)
    if run.reasoning and quirks.reasoning_chunks:
        metadata["reasoning"] = {"llm": run.reasoning}
    return metadata


def _remember(run: GraphRun) -> None:
    """Keep the run for `GET /workflows/run/{id}`, its values as JSON text like Dify's rows."""
    turn, outcome = run.turn, run.turn.outcome
    row: Json = {
        "id": turn.run_id,
        "workflow_id": turn.workflow_id,
        "status": outcome.status,
        "inputs": json.dumps(nodes.system_variables(turn, started=True)),
        "outputs": None if outcome.outputs is None else json.dumps(outcome.outputs),
        "error": outcome.error,
        "total_steps": outcome.total_steps,
        "total_tokens": outcome.total_tokens,
        "created_at": turn.started_at,
        "finished_at": turn.world.clock(),
        "elapsed_time": outcome.elapsed_seconds,
    }
    turn.world.store.add_workflow_run(turn.run_id, row)


def _build_form(run: GraphRun) -> Json:
    return {
        "form_id": str(uuid.uuid4()),
        "node_id": "human",
        "node_title": "Human Input",
        "form_content": "Approve? {{#$output.comment#}}",
        "inputs": [{"type": "paragraph", "output_variable_name": "comment"}],
        "actions": [
            {"id": "yes", "title": "Yes", "button_style": "primary"},
            {"id": "no", "title": "No", "button_style": "default"},
        ],
        "display_in_ui": True,
        "form_token": str(uuid.uuid4()),
        "resolved_default_values": {},
        "expiration_time": int(run.turn.world.clock()) + 3600,
    }
