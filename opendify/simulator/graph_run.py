"""Runs of chatflows and workflows: nodes one after the other, then how the run ended."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence

from opendify.simulator import events, nodes
from opendify.simulator.apps import Outputs
from opendify.simulator.easy_run import moderated_text, preset_answer
from opendify.simulator.failures import failure_text
from opendify.simulator.model import PromptMessage, Reason, Say, Step, count_tokens, plan_answer
from opendify.simulator.nodes import Node, NodeResult
from opendify.simulator.reasoning import inline_reasoning, think_as_details
from opendify.simulator.turns import ModelFailedError, RunStoppedError, Turn
from opendify.simulator.usage import build_usage, empty_usage, with_timings

Json = dict[str, object]

_TOKENS_BEFORE_MODERATION = 55
_STOPPED = "Stopped by user."
_MODERATED = "Stopped by output moderation."
_ABORTED = "Aborted: User requested stop"


# A text and the selector of the variable that it is the value of.
_Chunk = tuple[str, list[str]]


class _ModeratedError(Exception):
    """The output filter ended the run."""


class _CodeFailedError(Exception):
    """A code node failed; the text is its traceback."""


def run_graph(turn: Turn, prompt: Sequence[PromptMessage]) -> Iterator[Json]:
    """All events of the run, in the order of versions up to 1.12.1 or of those from 1.13.0."""
    preset = preset_answer(turn) if turn.message is not None else None
    if preset is not None:
        return _answer_preset(turn, preset)
    return _GraphRun(turn, prompt).events()


class _GraphRun:
    """One run of a graph: which node is on, what was said, what it cost."""

    def __init__(self, turn: Turn, prompt: Sequence[PromptMessage]) -> None:
        self._turn = turn
        self._prompt = prompt
        self._sequence = turn.world.store.next_sequence_number()
        self._steps = 0
        self._last_node: str | None = None
        self._said: list[str] = []
        self._tokens = 0
        self._reasoning = ""

    def events(self) -> Iterator[Json]:
        yield nodes.workflow_started(self._turn, self._sequence)
        variables = nodes.system_variables(self._turn, started=True)
        result = NodeResult(variables, None, variables, files=self._files())
        yield from self._run_node("start", "start", "Start", result)
        if "PAUSE" in self._turn.words and self._turn.quirks.pauses:
            yield from self._pause()
            return
        try:
            yield from self._body()
        except RunStoppedError:
            yield from self._finish("stopped", None, _STOPPED)
        except _ModeratedError:
            yield from self._finish("stopped", None, _MODERATED)
        except (ModelFailedError, _CodeFailedError) as failure:
            yield from self._finish("failed", None, _text_of_failure(failure, self._turn))

    def _body(self) -> Iterator[Json]:
        outputs = yield from _BODIES[self._turn.app.outputs](self)
        yield from self._end_node(outputs)
        aborted = self._turn.task.aborted
        yield from self._finish("failed" if aborted else "succeeded", outputs, _ABORTED if aborted else None)

    def model_body(self) -> Generator[Json, None, Json]:
        text = yield from self._ask("llm", "LLM", self._prompt)
        return self._chat_outputs(text) if self._turn.message else {"text": text} | self._file_output()

    def file_body(self) -> Generator[Json, None, Json]:
        picture = self._turn.inputs.get("pic")
        link = f"![{picture['filename']}]({picture['url']})" if isinstance(picture, dict) else ""
        text = yield from self._ask("llm", "LLM", self._prompt, ((link, ["start", "pic"]),) if link else ())
        return {"text": text, "pic": picture}

    def two_models_body(self) -> Generator[Json, None, Json]:
        summary = yield from self._ask("llm", "Summary", self._prompt)
        if self._turn.quirks.new_graph_engine:
            yield nodes.text_chunk(self._turn, "\n", ["end", "answer"])
        detail = yield from self._ask("llm2", "Detail", self._prompt)
        return {"summary": summary, "detail": detail}

    def code_body(self) -> Generator[Json, None, Json]:
        expression = str(self._turn.inputs.get("expr"))
        node = self._next_node("code", "code", "Code")
        yield nodes.node_started(self._turn, node)
        try:
            value = calculate(expression)
        except (ArithmeticError, SyntaxError, ValueError) as error:
            text = f'Traceback (most recent call last):\n  File "<string>", line 1\n{type(error).__name__}: {error}\n'
            yield nodes.node_finished(self._turn, node, NodeResult({"expr": expression}, error=text))
            raise _CodeFailedError(text) from error
        items = [expression, str(value)]
        outputs: Json = {"value": value, "text": str(value), "items": items, "obj": {"expr": expression}}
        yield from self._computed_chunks(
            [
                (str(value), ["code", "value"]),
                (str(value), ["code", "text"]),
                ("\n".join(f"- {item}" for item in items), ["code", "items"]),
                (f'{{\n  "expr": "{expression}"\n}}', ["code", "obj"]),
            ]
        )
        yield nodes.node_finished(self._turn, node, NodeResult({"expr": expression}, None, outputs))
        return outputs

    def template_body(self) -> Generator[Json, None, Json]:
        inputs = self._turn.inputs
        name = str(inputs.get("name"))
        greeting = f"Hello {name}, style={inputs.get('style')}, count={inputs.get('count')}"
        node = self._next_node("tpl", "template-transform", "Template")
        yield nodes.node_started(self._turn, node)
        yield from self._computed_chunks([(greeting, ["tpl", "output"]), (name, ["start", "name"])])
        yield nodes.node_finished(self._turn, node, NodeResult(dict(inputs), None, {"output": greeting}))
        return {"greeting": greeting, "name": name}

    def _computed_chunks(self, chunks: Sequence[_Chunk]) -> Iterator[Json]:
        # Before the new engine only a model's text was streamed.
        if not self._turn.quirks.new_graph_engine:
            return
        for index, (text, selector) in enumerate(chunks):
            if index:
                yield nodes.text_chunk(self._turn, "\n", ["end", "answer"])
            yield nodes.text_chunk(self._turn, text, selector)

    def _ask(
        self, node_id: str, title: str, prompt: Sequence[PromptMessage], more: Sequence[_Chunk] = ()
    ) -> Generator[Json, None, str]:
        """Run a model node; `more` is what the end node prints after its text, streamed with it."""
        node = self._next_node(node_id, "llm", title)
        yield nodes.node_started(self._turn, node)
        said: list[str] = []
        try:
            yield from self._stream(node_id, prompt, said)
        except ModelFailedError as failure:
            error = failure_text(failure.broken, self._turn)
            process = None if self._turn.quirks.new_graph_engine else self._process(prompt)
            yield nodes.node_finished(self._turn, node, NodeResult(None, process, error=error))
            raise
        if more:
            yield from self._computed_chunks([("", [node_id, "text"]), *more])
        text = "".join(said)
        usage = self._usage(prompt, said)
        yield nodes.node_finished(self._turn, node, self._model_result(prompt, text, usage))
        return text

    def _stream(self, node_id: str, prompt: Sequence[PromptMessage], said: list[str]) -> Iterator[Json]:
        for item in self._turn.play(self._steps_of(prompt)):
            match item:
                case Say(text):
                    if self._reasoning and not said:
                        yield nodes.reasoning_chunk(self._turn, "", node_id, is_final=True)
                    said.append(text)
                    self._said.append(text)
                    yield self._text(text, node_id)
                    if self._is_moderated(len(said)):
                        yield from self._moderate()
                case Reason(text):
                    self._reasoning += text
                    yield nodes.reasoning_chunk(self._turn, text, node_id)
                case _:
                    yield item
        for _ in range(2 if self._turn.quirks.new_graph_engine else 1):
            yield self._text("", node_id)
        if self._is_moderated(_TOKENS_BEFORE_MODERATION):
            yield from self._moderate()

    def _is_moderated(self, tokens: int) -> bool:
        enough = tokens >= _TOKENS_BEFORE_MODERATION and self._turn.message is not None
        return enough and moderated_text(self._turn, "".join(self._said)) is not None

    def _moderate(self) -> Iterator[Json]:
        replacement = moderated_text(self._turn, "".join(self._said)) or ""
        yield events.replace_event(self._turn, replacement)
        self._said = [replacement]
        raise _ModeratedError

    def _steps_of(self, prompt: Sequence[PromptMessage]) -> Iterable[Step]:
        quirks = self._turn.quirks
        steps = plan_answer(prompt, self._turn.world.options.token_delay_seconds)
        if quirks.reasoning_chunks:
            return steps
        inlined = inline_reasoning(steps, details=quirks.thinking_as_details)
        return think_as_details(inlined) if quirks.thinking_as_details else inlined

    def _text(self, text: str, node_id: str) -> Json:
        if self._turn.message is None:
            return nodes.text_chunk(self._turn, text, [node_id, "text"])
        return events.text_event(self._turn, "message", text, [node_id, "text"])

    def _process(self, prompt: Sequence[PromptMessage]) -> Json:
        new = self._turn.quirks.new_graph_engine
        provider = "langgenius/openai_api_compatible/openai_api_compatible" if new else "openai_api_compatible"
        prompts = [{"role": message.role, "text": message.text, "files": []} for message in prompt]
        names: Json = {"model_provider": provider, "model_name": "fake-chat"}
        return {"model_mode": "chat", "prompts": prompts} | names

    def _model_result(self, prompt: Sequence[PromptMessage], text: str, usage: Json) -> NodeResult:
        outputs: Json = {"text": text, "usage": usage, "finish_reason": "stop"}
        process = self._process(prompt)
        if self._turn.quirks.new_graph_engine:
            outputs["reasoning_content"] = self._reasoning
            process |= {"usage": usage, "finish_reason": "stop"}
        tokens = usage["total_tokens"]
        inputs: Json | None = {"#files#": self._files()} if self._files() else None
        return NodeResult(inputs, process, outputs, tokens=tokens if isinstance(tokens, int) else 0)

    def _files(self) -> list[Json]:
        """The files of the question and among the inputs."""
        given = [value for value in self._turn.inputs.values() if isinstance(value, dict)]
        return [*self._turn.files, *given]

    def _usage(self, prompt: Sequence[PromptMessage], said: Sequence[str]) -> Json:
        spent = count_tokens(prompt)
        self._tokens += spent + len(said)
        quirks = self._turn.quirks
        usage = build_usage(spent, len(said), self._turn.elapsed_seconds, quirks)
        return with_timings(usage, quirks) if said else usage

    def _end_node(self, outputs: Json) -> Iterator[Json]:
        if self._turn.message is None:
            files = nodes.files_in(outputs)
            yield from self._run_node("end", "end", "End", NodeResult(outputs, None, outputs, files=files))
        else:
            answered: Json = {"answer": outputs["answer"], "files": []}
            yield from self._run_node("answer", "answer", "Answer", NodeResult(None, None, answered))

    def _chat_outputs(self, text: str) -> Json:
        outputs: Json = {"answer": text}
        return outputs | {"files": []} if self._turn.quirks.new_graph_engine else outputs

    def _file_output(self) -> Json:
        return {"files": [events.produced_file(self._turn)]} if "FILE" in self._turn.words else {}

    def _run_node(self, node_id: str, node_type: str, title: str, result: NodeResult) -> Iterator[Json]:
        node = self._next_node(node_id, node_type, title)
        yield nodes.node_started(self._turn, node)
        yield nodes.node_finished(self._turn, node, result)

    def _next_node(self, node_id: str, node_type: str, title: str) -> Node:
        self._steps += 1
        node = Node(node_id, node_type, title, self._steps, self._last_node)
        self._last_node = node_id
        return node

    def _finish(self, status: str, outputs: Json | None, error: str | None) -> Iterator[Json]:
        outcome = self._turn.outcome
        outcome.status, outcome.error = status, error
        outcome.outputs = {} if outputs is None and self._turn.quirks.new_graph_engine else outputs
        outcome.total_tokens, outcome.total_steps = self._tokens, self._steps
        outcome.elapsed_seconds = self._turn.elapsed_seconds
        finished = nodes.workflow_finished(self._turn, self._sequence)
        if self._turn.message is None:
            self._remember_run()
            yield finished
            return
        if status == "failed":
            yield from self._fail_chatflow(finished, error or "")
        else:
            yield from self._end_chatflow(finished, stopped=status == "stopped")

    def _remember_run(self) -> None:
        turn, outcome = self._turn, self._turn.outcome
        inputs = json.dumps(nodes.system_variables(turn, started=True))
        outputs = None if outcome.outputs is None else json.dumps(outcome.outputs)
        row: Json = {
            "id": turn.run_id,
            "workflow_id": turn.workflow_id,
            "status": outcome.status,
            "inputs": inputs,
            "outputs": outputs,
            "error": outcome.error,
            "total_steps": outcome.total_steps,
            "total_tokens": outcome.total_tokens,
            "created_at": turn.started_at,
            "finished_at": turn.world.clock(),
            "elapsed_time": outcome.elapsed_seconds,
        }
        turn.world.store.add_workflow_run(turn.run_id, row)

    def _fail_chatflow(self, finished: Json, error: str) -> Iterator[Json]:
        message = f"Run failed: {error}"
        self._turn.store_failure(message, "invalid_param")
        yield finished
        yield events.error_event(self._turn, "invalid_param", 400, message)

    def _end_chatflow(self, finished: Json, *, stopped: bool) -> Iterator[Json]:
        quirks = self._turn.quirks
        usage = empty_usage(quirks) if stopped else build_usage(
            count_tokens(self._prompt), len(self._said), self._turn.elapsed_seconds, quirks
        )
        timed = with_timings(usage, quirks) if self._said else usage
        metadata = events.build_metadata(self._turn, timed)
        if self._reasoning:
            metadata["reasoning"] = {"llm": self._reasoning}
        self._turn.store_answer("".join(self._said))
        end = events.end_event(self._turn, metadata)
        if stopped or not quirks.end_before_finished:
            yield from (finished, end)
        else:
            yield from (end, finished)

    def _pause(self) -> Iterator[Json]:
        form: Json = {
            "form_id": str(uuid.uuid4()),
            "node_id": "human",
            "node_title": "Human Input",
            "form_content": "Approve?",
            "inputs": [],
            "actions": [{"id": "yes", "title": "Yes", "button_style": "primary"}],
            "display_in_ui": True,
            "form_token": str(uuid.uuid4()),
            "resolved_default_values": {},
            "expiration_time": int(self._turn.world.clock()) + 3600,
        }
        yield nodes.graph_event(self._turn, "human_input_required", form)
        outcome = self._turn.outcome
        outcome.status = "paused"
        outcome.paused = {
            "workflow_run_id": self._turn.run_id,
            "paused_nodes": ["human"],
            "outputs": {},
            "reasons": [form | {"TYPE": "human_input_required"}],
            "status": "paused",
            "created_at": int(self._turn.started_at),
            "elapsed_time": self._turn.elapsed_seconds,
            "total_tokens": 0,
            "total_steps": self._steps,
        }
        yield nodes.graph_event(self._turn, "workflow_paused", outcome.paused)


_BODIES = {
    Outputs.MODEL: _GraphRun.model_body,
    Outputs.MODEL_AND_FILE: _GraphRun.file_body,
    Outputs.CODE: _GraphRun.code_body,
    Outputs.TEMPLATE: _GraphRun.template_body,
    Outputs.TWO_MODELS: _GraphRun.two_models_body,
}


def _answer_preset(turn: Turn, preset: str) -> Iterator[Json]:
    """An annotation or the input filter answers a chatflow without any workflow event."""
    quirks = turn.quirks
    yield events.text_event(turn, "message", preset, None)
    turn.store_answer(preset)
    usage = with_timings(empty_usage(quirks), quirks) if quirks.whole_metadata else None
    annotation = None if turn.app.moderation else events.annotation_of(turn)
    yield events.end_event(turn, events.build_metadata(turn, usage, annotation))


def _text_of_failure(failure: Exception, turn: Turn) -> str:
    return failure_text(failure.broken, turn) if isinstance(failure, ModelFailedError) else str(failure)
