"""One run of one app: its ids, its clock, its playing model, and what came of it."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from opendify.simulator.apps import GRAPH_MODES, DemoApp
from opendify.simulator.memory import Conversation, Message, Store, Task
from opendify.simulator.model import Break, Reason, Say, Step, Wait
from opendify.simulator.options import SimulatorOptions
from opendify.simulator.versions import Quirks
from opendify.simulator.words import SteeringWords

Json = dict[str, object]

PING: Json = {"event": "ping"}
_SLICE_SECONDS = 0.1
_NEVER_TIED_SECONDS = 1e-6


class RunStoppedError(Exception):
    """The run's own user asked to stop it."""


class ModelFailedError(Exception):
    """The model's provider failed; `broken` says how."""

    def __init__(self, broken: Break) -> None:
        super().__init__(broken.kind)
        self.broken = broken


def stable_id(*parts: str) -> str:
    """The same UUID for the same words, as a database would have."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, "\n".join(parts)))


@dataclass(frozen=True)
class World:
    """What all requests of one simulator share."""

    options: SimulatorOptions
    quirks: Quirks
    clock: Callable[[], float]
    sleep: Callable[[float], None]
    store: Store

    def message_time(self) -> float:
        """Now, rounded down to the grain of message times."""
        grain = self.options.message_time_resolution_seconds
        now = self.clock()
        if grain <= 0:
            return now + self.store.next_sequence_number() * _NEVER_TIED_SECONDS
        return now // grain * grain

    def file_url(self, path: str) -> str:
        """The signed link to a file, which in Dify expires."""
        return f"{self.options.files_url}/files/{path}?timestamp=0&nonce=0&sign=0"

    def uploaded_file_url(self, upload_id: str) -> str:
        return self.file_url(f"{upload_id}/file-preview")

    def stay_silent(self, seconds: float) -> None:
        """Send nothing, not even a ping."""
        left = seconds
        while left > 0:
            self.sleep(min(left, 1.0))
            left -= 1.0


@dataclass
class Outcome:
    """What a run left for a blocking answer."""

    answer: str = ""
    metadata: Json = field(default_factory=dict)
    status: str = "succeeded"
    outputs: Json | None = None
    error: str | None = None
    failure_code: str = ""
    total_tokens: int = 0
    total_steps: int = 0
    elapsed_seconds: float = 0.0
    paused: Json | None = None


@dataclass
class Turn:
    """One run. `message` is `None` in workflows, `conversation` also in completion apps."""

    world: World
    app: DemoApp
    app_key: str
    user: str
    query: str
    inputs: Json
    images: int
    words: SteeringWords
    streaming: bool
    task: Task
    message: Message | None = None
    conversation: Conversation | None = None
    is_new_conversation: bool = False
    files: tuple[Json, ...] = ()
    outcome: Outcome = field(default_factory=Outcome)
    run_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    started_at: float = 0.0
    until_ping_seconds: float = 0.0

    def __post_init__(self) -> None:
        self.started_at = self.world.clock()
        self.until_ping_seconds = self.world.options.ping_seconds

    @property
    def quirks(self) -> Quirks:
        return self.world.quirks

    @property
    def is_graph(self) -> bool:
        return self.app.mode in GRAPH_MODES

    @property
    def user_id(self) -> str:
        return stable_id(self.app_key, self.user)

    @property
    def workflow_id(self) -> str:
        return stable_id(self.app_key, "workflow")

    @property
    def elapsed_seconds(self) -> float:
        return max(0.0, self.world.clock() - self.started_at)

    def play(self, steps: Iterable[Step]) -> Iterator[Say | Reason | Json]:
        """Yields tokens, and pings while the model is silent.

        Raises:
            RunStoppedError: A stop came in between.
            ModelFailedError: At the step that says so.
        """
        for step in steps:
            match step:
                case Wait(seconds):
                    yield from self.wait(seconds)
                case Break():
                    raise ModelFailedError(step)
                case Say() | Reason():
                    yield step
            if self.task.stopped.is_set():
                raise RunStoppedError

    def wait(self, seconds: float) -> Iterator[Json]:
        """Let `seconds` pass in small slices, so that a stop is noticed soon."""
        left = seconds
        while left > 0:
            if self.task.stopped.is_set():
                raise RunStoppedError
            pause = min(left, _SLICE_SECONDS, self.until_ping_seconds)
            self.world.sleep(pause)
            left = _without_dust(left - pause)
            self.until_ping_seconds = _without_dust(self.until_ping_seconds - pause)
            if self.until_ping_seconds <= 0:
                self.until_ping_seconds = self.world.options.ping_seconds
                yield PING

    def store_answer(self, answer: str) -> None:
        self.outcome.answer = answer
        if self.message is not None:
            self.message.answer = answer
        if self.conversation is not None:
            self.conversation.updated_at = self.world.clock()

    def store_failure(self, message: str, code: str) -> None:
        self.outcome.error, self.outcome.failure_code = message, code
        if self.message is not None:
            self.message.status, self.message.error = "error", message


def _without_dust(seconds: float) -> float:
    # Repeated subtraction of 0.1 leaves about 1e-15 behind, which would be one more sleep.
    return 0.0 if seconds < 1e-9 else seconds
