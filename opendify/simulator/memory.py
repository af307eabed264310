"""What a simulated Dify remembers: conversations, messages, uploads, runs, and what it was asked.

Everything is in memory. Methods of `Store` hold its lock; the rows they return
are changed by the one run they belong to.
"""

from __future__ import annotations

import threading
import uuid
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from opendify.simulator.model import PromptMessage

Json = dict[str, object]

_KEPT_REQUESTS = 10_000
_KEPT_RUN_LOGS = 200
NO_PARENT = "00000000-0000-0000-0000-000000000000"


@dataclass
class Conversation:
    """One conversation of one user with one app."""

    app_key: str
    user: str
    name: str
    inputs: Json
    introduction: str
    created_at: float
    updated_at: float
    id: str = field(default_factory=lambda: str(uuid.uuid4()))


@dataclass
class Message:
    """One question and its answer.

    `time` is rounded down to the grain of message times. `answer` stays empty
    until the run has been read to its end.
    """

    app_key: str
    user: str
    conversation_id: str
    query: str
    inputs: Json
    time: float
    answer: str = ""
    images: int = 0
    files: list[Json] = field(default_factory=list)
    thoughts: list[Json] = field(default_factory=list)
    resources: list[Json] = field(default_factory=list)
    feedback: str | None = None
    status: str = "normal"
    error: str | None = None
    id: str = field(default_factory=lambda: str(uuid.uuid4()))


@dataclass
class Upload:
    """One uploaded file."""

    app_key: str
    user: str
    name: str
    mime_type: str
    content: bytes
    created_at: float
    used: bool = False
    id: str = field(default_factory=lambda: str(uuid.uuid4()))

    @property
    def extension(self) -> str:
        return self.name.rpartition(".")[2].lower() if "." in self.name else ""


@dataclass
class Task:
    """A run that can be stopped; `aborted` is what another user's stop does to a chatflow."""

    app_key: str
    user: str
    stopped: threading.Event = field(default_factory=threading.Event)
    aborted: bool = False
    id: str = field(default_factory=lambda: str(uuid.uuid4()))


@dataclass(frozen=True)
class ReceivedRequest:
    """A run request as it came in."""

    path: str
    app_key: str
    headers: dict[str, str]
    body: object


@dataclass
class PausedForm:
    """A form that a run waits for; `go_on` gives what the run still has to say, once."""

    app_key: str
    user: str
    run_id: str
    action_ids: tuple[str, ...]
    go_on: Callable[[], Iterator[Json]]
    chosen: str | None = None
    inputs: Json = field(default_factory=dict)
    told: list[Json] = field(default_factory=list)


@dataclass
class RunLog:
    """What a run in a worker has told so far."""

    app_key: str
    user: str
    events: list[Json] = field(default_factory=list)
    is_over: bool = False


class Store:
    """All rows of one simulator."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self.reset()

    def reset(self) -> None:
        with self._lock:
            self.conversations: dict[str, Conversation] = {}
            self.messages: dict[str, Message] = {}
            self._in_conversation: defaultdict[str, list[Message]] = defaultdict(list)
            self.uploads: dict[str, Upload] = {}
            self.tasks: dict[str, Task] = {}
            self.workflow_runs: dict[str, Json] = {}
            self.forms: dict[str, PausedForm] = {}
            self.run_logs: dict[str, RunLog] = {}
            self.requests: deque[ReceivedRequest] = deque(maxlen=_KEPT_REQUESTS)
            self.counts: Counter[str] = Counter()
            self.active: Counter[str] = Counter()
            self.sequence = 0

    def count(self, name: str) -> None:
        with self._lock:
            self.counts[name] += 1

    def next_sequence_number(self) -> int:
        with self._lock:
            self.sequence += 1
            return self.sequence

    def record_request(self, request: ReceivedRequest) -> None:
        with self._lock:
            self.requests.append(request)

    def enter(self, app_key: str, limit: int) -> bool:
        """Take one of the app's `limit` places; 0 is unlimited."""
        with self._lock:
            if limit and self.active[app_key] >= limit:
                return False
            self.active[app_key] += 1
            return True

    def leave(self, app_key: str) -> None:
        with self._lock:
            # A reset in the meantime has forgotten the place.
            self.active[app_key] = max(0, self.active[app_key] - 1)

    def add_conversation(self, conversation: Conversation) -> None:
        with self._lock:
            self.conversations[conversation.id] = conversation

    def add_message(self, message: Message) -> None:
        with self._lock:
            self.messages[message.id] = message
            self._in_conversation[message.conversation_id].append(message)

    def add_upload(self, upload: Upload) -> None:
        with self._lock:
            self.uploads[upload.id] = upload

    def add_workflow_run(self, run_id: str, row: Json) -> None:
        with self._lock:
            self.workflow_runs[run_id] = row

    def add_run_log(self, run_id: str, log: RunLog) -> None:
        with self._lock:
            self.run_logs[run_id] = log
            while len(self.run_logs) > _KEPT_RUN_LOGS:
                del self.run_logs[next(iter(self.run_logs))]

    def find_run_log(self, run_id: str, app_key: str, user: str) -> RunLog | None:
        with self._lock:
            found = self.run_logs.get(run_id)
        return found if found and (found.app_key, found.user) == (app_key, user) else None

    def add_form(self, token: str, form: PausedForm) -> None:
        with self._lock:
            self.forms[token] = form

    def find_form(self, *, app_key: str, token: str = "", run_id: str = "") -> PausedForm | None:
        """By its token, or by its run; another app's is not found."""
        with self._lock:
            forms = [self.forms.get(token)] if token else list(self.forms.values())
        return next(
            (form for form in forms if form and form.app_key == app_key and (token or form.run_id == run_id)),
            None,
        )

    def add_task(self, task: Task) -> None:
        with self._lock:
            self.tasks[task.id] = task

    def remove_task(self, task: Task) -> None:
        with self._lock:
            self.tasks.pop(task.id, None)

    def find_task(self, task_id: str) -> Task | None:
        with self._lock:
            return self.tasks.get(task_id)

    def find_conversation(self, conversation_id: str, app_key: str, user: str) -> Conversation | None:
        with self._lock:
            found = self.conversations.get(conversation_id)
        return found if found and (found.app_key, found.user) == (app_key, user) else None

    def conversations_of(self, app_key: str, user: str) -> list[Conversation]:
        with self._lock:
            return [row for row in self.conversations.values() if (row.app_key, row.user) == (app_key, user)]

    def delete_conversation(self, conversation_id: str) -> bool:
        with self._lock:
            for row in self._in_conversation.pop(conversation_id, []):
                del self.messages[row.id]
            return self.conversations.pop(conversation_id, None) is not None

    def delete_all_conversations(self) -> int:
        with self._lock:
            deleted = len(self.conversations)
            self.conversations.clear()
            self.messages.clear()
            self._in_conversation.clear()
            return deleted

    def find_message(self, message_id: str, app_key: str, user: str) -> Message | None:
        with self._lock:
            found = self.messages.get(message_id)
        return found if found and (found.app_key, found.user) == (app_key, user) else None

    def messages_newest_first(self, conversation_id: str) -> list[Message]:
        """Ordered by time alone: messages of one grain stay in the order of their arrival."""
        with self._lock:
            rows = list(self._in_conversation.get(conversation_id, ()))
        return sorted(rows, key=lambda row: -row.time)


def read_memory(newest_first: Iterable[Message], *, keep_empty_answers: bool) -> list[PromptMessage]:
    """The history a model gets: everything but the newest message, if that has no answer yet.

    The newest is meant to be the current turn. When an older turn has the same
    time it may be taken for the newest, and the current question then stays in
    its own history, as in Dify. Chatflows leave out empty answers.
    """
    rows = list(newest_first)
    if rows and not rows[0].answer:
        rows = rows[1:]
    history: list[PromptMessage] = []
    for row in reversed(rows):
        history.append(PromptMessage("user", row.query, row.images))
        if row.answer or keep_empty_answers:
            history.append(PromptMessage("assistant", row.answer))
    return history
