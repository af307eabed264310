"""What happens between a graph's start and its end, by where its outputs come from."""

from __future__ import annotations

from collections.abc import Callable, Generator

from opendify.simulator import events, nodes
from opendify.simulator.apps import Outputs
from opendify.simulator.arithmetic import calculate
from opendify.simulator.graph_state import CodeFailedError, GraphRun
from opendify.simulator.model_node import ask_model, computed_chunks, separator_chunk
from opendify.simulator.nodes import NodeResult

Json = dict[str, object]
Body = Generator[Json, None, Json]


def run_body(run: GraphRun) -> Body:
    """The events of the nodes in between; returns the run's outputs."""
    return _BODIES[run.turn.app.outputs](run)


def _ask_one_model(run: GraphRun) -> Body:
    text = yield from ask_model(run, "llm", "LLM")
    turn = run.turn
    if turn.message is None:
        return {"text": text} | ({"files": [events.produced_file(turn)]} if "FILE" in turn.words else {})
    return {"answer": text} | ({"files": []} if turn.quirks.new_graph_engine else {})


def _ask_and_return_file(run: GraphRun) -> Body:
    picture = run.turn.inputs.get("pic")
    if not isinstance(picture, dict):
        text = yield from ask_model(run, "llm", "LLM")
        return {"text": text, "pic": None}
    link = f"![{picture['filename']}]({picture['url']})"
    text = yield from ask_model(run, "llm", "LLM", [(link, ["start", "pic"])])
    return {"text": text, "pic": picture}


def _ask_two_models(run: GraphRun) -> Body:
    summary = yield from ask_model(run, "llm", "Summary")
    # The end node's separator is streamed by every version, as it stands between two streamed texts.
    yield separator_chunk(run)
    detail = yield from ask_model(run, "llm2", "Detail")
    return {"summary": summary, "detail": detail}


def _compute(run: GraphRun) -> Body:
    expression = str(run.turn.inputs.get("expr"))
    node = run.next_node("code", "code", "Code")
    yield nodes.node_started(run.turn, node)
    try:
        value = calculate(expression)
    except (ArithmeticError, SyntaxError, ValueError) as error:
        text = _traceback(error)
        yield nodes.node_finished(run.turn, node, NodeResult({"expr": expression}, error=text))
        raise CodeFailedError(text) from error
    items = [expression, str(value)]
    listed = "\n".join(f"- {item}" for item in items)
    chunks = [
        (str(value), ["code", "value"]),
        (str(value), ["code", "text"]),
        (listed, ["code", "items"]),
        (f'{{\n  "expr": "{expression}"\n}}', ["code", "obj"]),
    ]
    yield from computed_chunks(run, chunks)
    outputs: Json = {"value": value, "text": str(value), "items": items, "obj": {"expr": expression}}
    yield nodes.node_finished(run.turn, node, NodeResult({"expr": expression}, None, outputs))
    return outputs


def _fill_template(run: GraphRun) -> Body:
    inputs = run.turn.inputs
    name = str(inputs.get("name"))
    greeting = f"Hello {name}, style={inputs.get('style')}, count={inputs.get('count')}"
    node = run.next_node("tpl", "template-transform", "Template")
    yield nodes.node_started(run.turn, node)
    yield from computed_chunks(run, [(greeting, ["tpl", "output"]), (name, ["start", "name"])])
    yield nodes.node_finished(run.turn, node, NodeResult(dict(inputs), None, {"output": greeting}))
    return {"greeting": greeting, "name": name}


def _traceback(error: Exception) -> str:
    return f'Traceback (most recent call last):\n  File "<string>", line 1\n{type(error).__name__}: {error}\n'


_BODIES: dict[Outputs, Callable[[GraphRun], Body]] = {
    Outputs.MODEL: _ask_one_model,
    Outputs.MODEL_AND_FILE: _ask_and_return_file,
    Outputs.TWO_MODELS: _ask_two_models,
    Outputs.CODE: _compute,
    Outputs.TEMPLATE: _fill_template,
}
