"""From a checked payload to a turn that can run: inputs, files, conversation, prompt."""

from __future__ import annotations

from collections.abc import Iterator

from opendify.simulator.agent_run import run_agent, run_new_agent
from opendify.simulator.apps import CHAT_MODES, STREAMING_ONLY_MODES
from opendify.simulator.easy_run import run_easy
from opendify.simulator.errors import DifyError, invalid_param, not_found
from opendify.simulator.graph_run import run_graph
from opendify.simulator.inputs import Files, InputReader, fill, model_text
from opendify.simulator.memory import Conversation, Json, Message, Task, read_memory
from opendify.simulator.model import PromptMessage
from opendify.simulator.payload import RunPayload
from opendify.simulator.serving_context import Caller
from opendify.simulator.turns import Turn, World
from opendify.simulator.words import read_words

AUTO_NAME = "Simulated conversation title"

_RUNNERS = {
    "chat": run_easy,
    "completion": run_easy,
    "agent-chat": run_agent,
    "agent": run_new_agent,
    "advanced-chat": run_graph,
    "workflow": run_graph,
}


def refuse_blocking(caller: Caller) -> None:
    """Raises for the modes that only stream."""
    if caller.app.mode == "agent-chat":
        raise invalid_param("Agent Chat App does not support blocking mode")
    if caller.app.mode in STREAMING_ONLY_MODES:
        raise DifyError(400, "bad_request", "Agent App only supports streaming response mode.")


class TurnStarter:
    """Checks what only the app and its conversations can tell, then starts a turn."""

    def __init__(self, world: World, caller: Caller, user: str, payload: RunPayload, path: str) -> None:
        self._world = world
        self._caller = caller
        self._user = user
        self._payload = payload
        self._path = path

    def start(self, *, streaming: bool) -> Turn:
        """Raises `DifyError` for what is wrong with query, inputs, files or conversation."""
        app = self._caller.app
        if app.mode in CHAT_MODES and not self._payload.query:
            raise invalid_param("query is required")
        existing = self._find_conversation()
        reader = InputReader(self._world, app, self._caller.app_key, self._user)
        files = reader.read_files(self._payload.files)
        inputs, images_in_inputs = self._read_inputs(reader, existing)
        if not app.provider_ready:
            raise DifyError(400, "provider_not_initialize", "Model gpt-4o credentials is not initialized.")
        conversation = existing
        if app.mode in CHAT_MODES and conversation is None:
            conversation = self._begin_conversation(inputs)
        message = None if app.mode == "workflow" else self._add_message(conversation, inputs, files)
        task = Task(self._caller.app_key, self._user)
        self._world.store.add_task(task)
        return Turn(
            world=self._world,
            app=app,
            app_key=self._caller.app_key,
            user=self._user,
            query=self._payload.query,
            inputs=inputs,
            images=files.images + images_in_inputs,
            words=read_words(model_text(app, self._payload.query, inputs)),
            streaming=streaming,
            task=task,
            message=message,
            conversation=conversation,
            is_new_conversation=conversation is not existing,
            files=reader.graph_files(files),
        )

    def run(self, turn: Turn) -> Iterator[Json]:
        """The turn's events; a new conversation first waits for its name, in newer versions."""
        if turn.is_new_conversation and self._payload.auto_generate_name and self._world.quirks.delays_naming:
            self._world.sleep(self._world.options.naming_delay_seconds)
        yield from _RUNNERS[turn.app.mode](turn, _build_prompt(turn))

    def _find_conversation(self) -> Conversation | None:
        wanted = self._payload.conversation_id
        if wanted is None:
            return None
        found = self._world.store.find_conversation(wanted, self._caller.app_key, self._user)
        forgives = self._world.quirks.unknown_conversation_is_new and self._caller.app.mode == "advanced-chat"
        if found is None and not forgives:
            raise not_found("Conversation Not Exists.", self._world.quirks, self._path)
        return found

    def _read_inputs(self, reader: InputReader, existing: Conversation | None) -> tuple[Json, int]:
        if existing is not None and not self._world.quirks.inputs_every_turn:
            return existing.inputs, 0
        return reader.read_inputs(self._payload.inputs)

    def _begin_conversation(self, inputs: Json) -> Conversation:
        now = self._world.clock()
        app = self._caller.app
        name = AUTO_NAME
        if not self._payload.auto_generate_name:
            name = self._payload.query[:50] if self._world.quirks.names_after_query else "New conversation"
        introduction = app.opening_statement
        conversation = Conversation(self._caller.app_key, self._user, name, inputs, introduction, now, now)
        self._world.store.add_conversation(conversation)
        return conversation

    def _add_message(self, conversation: Conversation | None, inputs: Json, files: Files) -> Message:
        message = Message(
            self._caller.app_key,
            self._user,
            conversation.id if conversation else "",
            self._payload.query,
            inputs,
            self._world.message_time(),
            images=files.images,
            files=list(files.rows),
        )
        self._world.store.add_message(message)
        return message


def _build_prompt(turn: Turn) -> list[PromptMessage]:
    prompt: list[PromptMessage] = []
    if turn.app.system_prompt:
        prompt.append(PromptMessage("system", fill(turn.app.system_prompt, turn.inputs)))
    if turn.conversation is not None:
        rows = turn.world.store.messages_newest_first(turn.conversation.id)
        prompt += read_memory(rows, keep_empty_answers=not turn.is_graph)
    return [*prompt, PromptMessage("user", model_text(turn.app, turn.query, turn.inputs), turn.images)]
