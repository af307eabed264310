"""The LLM node of a graph: asks the model, streams its text, reports prompt and usage."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence

from opendify.simulator import events, nodes
from opendify.simulator.easy_run import TOKENS_BEFORE_MODERATION, moderated_text
from opendify.simulator.failures import failure_text
from opendify.simulator.graph_state import GraphRun, RunModeratedError
from opendify.simulator.model import Reason, Say, Step, count_tokens, plan_answer
from opendify.simulator.nodes import NodeResult
from opendify.simulator.reasoning import inline_reasoning, think_as_details
from opendify.simulator.turns import ModelFailedError
from opendify.simulator.usage import build_usage, with_timings

Json = dict[str, object]

# A text, and the selector of the variable that it is the value of.
Chunk = tuple[str, list[str]]

_PLUGIN_PROVIDER = "langgenius/openai_api_compatible/openai_api_compatible"
_BUILT_IN_PROVIDER = "openai_api_compatible"


def ask_model(
    run: GraphRun, node_id: str, title: str, more: Sequence[Chunk] = ()
) -> Generator[Json, None, str]:
    """Run an LLM node and return its text.

    `more` is what the end node prints after this text; the new engine streams it
    before the node is reported as finished.
    """
    turn = run.turn
    node = run.next_node(node_id, "llm", title)
    yield nodes.node_started(turn, node)
    said: list[str] = []
    try:
        yield from _stream_text(run, node_id, said)
    except ModelFailedError as failure:
        process = None if turn.quirks.new_graph_engine else _process(run)
        result = NodeResult(None, process, error=failure_text(failure.broken, turn))
        yield nodes.node_finished(turn, node, result)
        raise
    if more:
        yield from computed_chunks(run, [("", [node_id, "text"]), *more])
    text = "".join(said)
    yield nodes.node_finished(turn, node, _result(run, text, _spend(run, said)))
    return text


def computed_chunks(run: GraphRun, chunks: Sequence[Chunk]) -> Iterator[Json]:
    """Outputs that no model wrote: streamed line by line, but only by the new engine."""
    if not run.turn.quirks.new_graph_engine:
        return
    for index, (text, selector) in enumerate(chunks):
        if index:
            yield separator_chunk(run)
        if text:
            yield nodes.text_chunk(run.turn, text, selector)


def separator_chunk(run: GraphRun) -> Json:
    return nodes.text_chunk(run.turn, "\n", ["end", "answer"])


def _stream_text(run: GraphRun, node_id: str, said: list[str]) -> Iterator[Json]:
    for item in run.turn.play(_plan(run)):
        match item:
            case Say(text):
                if run.reasoning and not said:
                    yield nodes.reasoning_chunk(run.turn, "", node_id, is_final=True)
                said.append(text)
                run.said.append(text)
                yield _text_event(run, text, node_id)
                yield from _moderate(run, len(said))
            case Reason(text):
                run.reasoning += text
                yield nodes.reasoning_chunk(run.turn, text, node_id)
            case _:
                yield item
    for _ in range(2 if run.turn.quirks.new_graph_engine else 1):
        yield _text_event(run, "", node_id)
    yield from _moderate(run, TOKENS_BEFORE_MODERATION)


def _plan(run: GraphRun) -> Iterable[Step]:
    quirks = run.turn.quirks
    steps = plan_answer(run.prompt, run.turn.world.options.token_delay_seconds)
    if quirks.reasoning_chunks:
        return steps
    inlined = inline_reasoning(steps, details=quirks.thinking_as_details)
    return think_as_details(inlined) if quirks.thinking_as_details else inlined


def _moderate(run: GraphRun, tokens: int) -> Iterator[Json]:
    """Replace the text and end the run, if the filter has seen enough of a chatflow's answer."""
    if tokens < TOKENS_BEFORE_MODERATION or run.turn.message is None:
        return
    replacement = moderated_text(run.turn, "".join(run.said))
    if replacement is not None:
        yield events.replace_event(run.turn, replacement)
        run.said = [replacement]
        raise RunModeratedError


def _text_event(run: GraphRun, text: str, node_id: str) -> Json:
    if run.turn.message is None:
        return nodes.text_chunk(run.turn, text, [node_id, "text"])
    return events.text_event(run.turn, "message", text, [node_id, "text"])


def _process(run: GraphRun) -> Json:
    new = run.turn.quirks.new_graph_engine
    return {
        "model_mode": "chat",
        "prompts": [{"role": message.role, "text": message.text, "files": []} for message in run.prompt],
        "model_provider": _PLUGIN_PROVIDER if new else _BUILT_IN_PROVIDER,
        "model_name": "fake-chat",
    }


def _result(run: GraphRun, text: str, usage: Json) -> NodeResult:
    outputs: Json = {"text": text, "usage": usage, "finish_reason": "stop"}
    process = _process(run)
    if run.turn.quirks.new_graph_engine:
        outputs["reasoning_content"] = run.reasoning
        process |= {"usage": usage, "finish_reason": "stop"}
    files = run.given_files()
    inputs: Json | None = {"#files#": files} if files else None
    tokens = usage["total_tokens"]
    return NodeResult(inputs, process, outputs, tokens=tokens if isinstance(tokens, int) else 0)


def _spend(run: GraphRun, said: Sequence[str]) -> Json:
    quirks = run.turn.quirks
    prompt_tokens = count_tokens(run.prompt)
    run.tokens += prompt_tokens + len(said)
    usage = build_usage(prompt_tokens, len(said), run.turn.elapsed_seconds, quirks)
    return with_timings(usage, quirks) if said else usage
