"""Runs of chatflows and workflows: start node, what the app does, end."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from opendify.simulator import events, nodes
from opendify.simulator.easy_run import preset_answer
from opendify.simulator.failures import failure_text
from opendify.simulator.graph_bodies import run_body
from opendify.simulator.graph_ends import finish, pause
from opendify.simulator.graph_state import CodeFailedError, GraphRun, RunModeratedError
from opendify.simulator.model import PromptMessage
from opendify.simulator.nodes import NodeResult
from opendify.simulator.turns import ModelFailedError, RunStoppedError, Turn
from opendify.simulator.usage import empty_usage, with_timings

Json = dict[str, object]


def run_graph(turn: Turn, prompt: Sequence[PromptMessage]) -> Iterator[Json]:
    """All events of the run; from 1.13.0 a worker's stream does not hand on all of them."""
    preset = preset_answer(turn) if turn.message is not None else None
    if preset is not None:
        yield from _answer_preset(turn, preset)
        return
    run = GraphRun(turn, prompt, turn.world.store.next_sequence_number())
    yield nodes.workflow_started(turn, run.sequence_number)
    variables = nodes.system_variables(turn, started=True)
    result = NodeResult(variables, None, variables, files=run.given_files())
    yield from run.pass_node("start", "start", "Start", result)
    if "PAUSE" in turn.words and turn.quirks.pauses:
        yield from pause(run, lambda: _to_its_end(run))
    else:
        yield from _to_its_end(run)


def _to_its_end(run: GraphRun) -> Iterator[Json]:
    try:
        outputs = yield from run_body(run)
    except RunStoppedError:
        yield from finish(run, "stopped", None, "Stopped by user.")
    except RunModeratedError:
        yield from finish(run, "stopped", None, "Stopped by output moderation.")
    except ModelFailedError as failure:
        yield from finish(run, "failed", None, failure_text(failure.broken, run.turn))
    except CodeFailedError as failure:
        yield from finish(run, "failed", None, str(failure))
    else:
        yield from _pass_end_node(run, outputs)
        aborted = run.turn.task.aborted
        status, error = ("failed", "Aborted: User requested stop") if aborted else ("succeeded", None)
        yield from finish(run, status, outputs, error)


def _pass_end_node(run: GraphRun, outputs: Json) -> Iterator[Json]:
    if run.turn.message is None:
        result = NodeResult(outputs, None, outputs, files=nodes.files_in(outputs))
        return run.pass_node("end", "end", "End", result)
    answered: Json = {"answer": outputs["answer"], "files": []}
    return run.pass_node("answer", "answer", "Answer", NodeResult(None, None, answered))


def _answer_preset(turn: Turn, preset: str) -> Iterator[Json]:
    """An annotation or the input filter answers a chatflow without any workflow event."""
    quirks = turn.quirks
    yield events.text_event(turn, "message", preset)
    turn.store_answer(preset)
    usage = with_timings(empty_usage(quirks), quirks) if quirks.whole_metadata else None
    annotation = None if turn.app.moderation else events.annotation_of(turn)
    yield events.end_event(turn, events.build_metadata(turn, usage, annotation))
