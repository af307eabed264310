"""Runs of agent apps: thoughts, tool calls, text."""

from __future__ import annotations

import json
import uuid
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass

from opendify.simulator import events
from opendify.simulator.easy_run import fail_easy, plan_steps, preset_answer
from opendify.simulator.model import PromptMessage, Say, Step, Wait, count_tokens, split_tokens
from opendify.simulator.turns import ModelFailedError, RunStoppedError, Turn
from opendify.simulator.usage import agent_usage, empty_usage
from opendify.simulator.words import ToolCall

Json = dict[str, object]

_TOOL_TALK = "Let me use the tool."
_IMAGE_TOOL = ToolCall("qrcode_generator", 1, '{"content": "hello"}')
_REACT_TOOL = ToolCall("current_time", 1, '{"timezone": "UTC"}')
_IMAGE_MADE = (
    "image has been created and sent to user already, you do not need to create it, "
    "just tell the user to check it now."
)


# Versions before 1.4.3 list one file of nulls for every thought.
_NO_FILE: Json = dict.fromkeys(("id", "filename", "type", "url", "mime_type", "transfer_method")) | {
    "size": 0,
    "belongs_to": "user",
}


@dataclass
class _Thought:
    """One agent thought, sent again each time it grows."""

    turn: Turn
    position: int
    id: str = ""
    thought: str = ""
    observation: str = ""
    tool: str = ""
    tool_input: str = ""
    files: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self.id = str(uuid.uuid4())

    def fields(self) -> Json:
        labels = {self.tool: {"en_US": self.tool, "zh_Hans": self.tool}} if self.tool else {}
        return {
            "id": self.id,
            "position": self.position,
            "thought": self.thought,
            "observation": self.observation,
            "tool": self.tool,
            "tool_labels": labels,
            "tool_input": self.tool_input,
            "message_files": list(self.files),
        }

    def event(self) -> Json:
        return events.envelope(self.turn, "agent_thought") | self.fields()

    def row(self) -> Json:
        """As `GET /messages` lists it."""
        message_id = self.turn.message.id if self.turn.message else None
        row = self.fields() | {
            "chain_id": None,
            "message_id": message_id,
            "created_at": int(self.turn.started_at),
        }
        if self.turn.quirks.whole_metadata:
            row["files"] = row.pop("message_files")
        else:
            row["message_files"] = [_NO_FILE]
        return row


def run_agent(turn: Turn, prompt: Sequence[PromptMessage], *, says_again: bool = False) -> Iterator[Json]:
    """The events of an `agent-chat` run; `says_again` repeats the final text as one `message`."""
    agent = _Agent(turn, prompt)
    try:
        yield from agent.work()
    except RunStoppedError:
        usage = empty_usage(turn.quirks, turn.elapsed_seconds)
    except ModelFailedError as failure:
        yield fail_easy(turn, failure)
        return
    else:
        usage = agent_usage(count_tokens(prompt), agent.tokens, turn.elapsed_seconds, turn.quirks)
    turn.store_answer(agent.final_text if says_again else agent.stored_answer)
    if says_again:
        yield events.text_event(turn, "message", agent.final_text, [])
    yield events.end_event(turn, events.build_metadata(turn, usage))


def run_new_agent(turn: Turn, prompt: Sequence[PromptMessage]) -> Iterator[Json]:
    """The events of mode `agent`: from 1.16.0 the whole answer follows the streamed text once more."""
    if turn.quirks.agent_answers_twice:
        yield from run_agent(turn, prompt, says_again=True)
        return
    for event in run_agent(turn, prompt):
        if event["event"] == "agent_message":
            yield event | {"event": "message", "from_variable_selector": []}
        elif event["event"] != "agent_thought":
            yield event


class _Agent:
    """The loop of thinking and calling tools."""

    def __init__(self, turn: Turn, prompt: Sequence[PromptMessage]) -> None:
        self._turn = turn
        self._prompt = prompt
        self._texts: list[str] = []
        self._position = 0
        self._is_react = "REACT" in turn.words
        self.tokens = 0

    @property
    def final_text(self) -> str:
        return self._texts[-1] if self._texts else ""

    @property
    def stored_answer(self) -> str:
        # ReAct stores the final answer alone, function calling all texts.
        return self.final_text if self._is_react else "\n".join(self._texts)

    def work(self) -> Iterator[Json]:
        preset = preset_answer(self._turn)
        if preset is not None:
            self._texts.append(preset)
            yield from (events.text_event(self._turn, "message", character) for character in preset)
            return
        call = self._tool_call()
        if call is None:
            yield from self._think(plan_steps(self._turn, self._prompt))
            return
        observation = _observe(call)
        for _ in range(call.rounds):
            yield from self._use_tool(call, observation)
        yield from self._think(self._say(f"Final answer after {call.rounds} tool round(s): {observation}"))

    def _tool_call(self) -> ToolCall | None:
        if "FILE" in self._turn.words:
            return _IMAGE_TOOL
        return _REACT_TOOL if self._is_react else self._turn.words.tool

    def _think(self, steps: Sequence[Step]) -> Iterator[Json]:
        thought = yield from self._talk(steps)
        yield from self._pad(1)
        yield thought.event()
        self._remember(thought)

    def _use_tool(self, call: ToolCall, observation: str) -> Iterator[Json]:
        thought = yield from self._talk(self._say(_TOOL_TALK))
        yield from self._pad(2)
        thought.tool, thought.tool_input = call.name, json.dumps({call.name: json.loads(call.arguments)})
        yield thought.event()
        if call.draws:
            picture = events.file_event(self._turn, events.image_url(self._turn))
            thought.files = (str(picture["id"]),)
            self._remember_picture(picture)
            yield picture
        thought.observation = json.dumps({call.name: observation})
        yield thought.event()
        self._remember(thought)

    def _talk(self, steps: Sequence[Step]) -> Generator[Json, None, _Thought]:
        """Stream one text; its thought is announced with the first token, not before."""
        self._position += 1
        thought = _Thought(self._turn, self._position)
        self._texts.append("")
        announced = False
        for item in self._turn.play(steps):
            if isinstance(item, Say):
                if not announced:
                    yield thought.event()
                announced = True
                self.tokens += 1
                self._texts[-1] += item.text
                yield events.text_event(self._turn, "agent_message", item.text)
            elif isinstance(item, dict):
                yield item
        if not announced:
            yield thought.event()
        thought.thought = self._texts[-1]
        return thought

    def _pad(self, count: int) -> Iterator[Json]:
        for _ in range(count):
            yield events.text_event(self._turn, "agent_message", "")

    def _say(self, text: str) -> list[Step]:
        pause = Wait(self._turn.world.options.token_delay_seconds)
        return [step for token in split_tokens(text) for step in (pause, Say(token))]

    def _remember_picture(self, picture: Json) -> None:
        if self._turn.message is None:
            return
        names: Json = {
            "filename": "drawing.png",
            "mime_type": "image/png",
            "size": 74,
            "transfer_method": "tool_file",
        }
        related: Json = {
            "related_id": picture["id"],
            "url": picture["url"],
            "type": "image",
            "belongs_to": "assistant",
        }
        self._turn.message.files.append(names | related)

    def _remember(self, thought: _Thought) -> None:
        if self._turn.message is not None:
            self._turn.message.thoughts.append(thought.row())


def _observe(call: ToolCall) -> str:
    if call.draws:
        return _IMAGE_MADE
    return f"{call.name} says 42"
