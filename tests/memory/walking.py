"""What must be true of random chats: which conversation a turn goes to, and what Dify then remembers."""

import hashlib
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from tests.memory.chats import Answer, Chatter, Message, SimulatedDify, assistant, unfold, user
from tests.memory.servers import APP_KEYS

_SEARCHED_BRANCHES = 16
_PRIOR = re.compile(r"ECHO prior=(\d+) ")

Transcript = tuple[Message, ...]
Scope = tuple[str, ...]


@dataclass
class Chat:
    """A chat as its client shows it; the last of `branches` is on the screen.

    `style` is how much the client shows: all of it (`transcript`, `chat id`,
    `open webui`), its end (`window`), or the new message alone (`line`).
    """

    style: str
    chatter: Chatter
    name: str
    chat_id: str
    branches: list[Transcript] = field(default_factory=lambda: [()])
    is_spoilt: bool = False

    @property
    def transcript(self) -> Transcript:
        return self.branches[-1]

    @property
    def scope(self) -> Scope:
        return (self.chatter.key, self.name, self.chat_id, self.chatter.model)

    @property
    def is_line(self) -> bool:
        return self.style == "line"

    @property
    def may_show_nothing(self) -> bool:
        """Whether a message alone says clearly that it is the first."""
        return self.style in ("transcript", "open webui")


@dataclass
class Line:
    """What is known of a chat whose client shows nothing but its new messages.

    `conversation_id` is where the next one must go; empty after a turn that
    failed, was left, or had another beside it. `has_failed` once a question that
    makes the model fail may be replayed, so that a later turn fails too.
    """

    asked: set[str] = field(default_factory=set)
    finished: set[Message] = field(default_factory=set)
    conversation_id: str = ""
    has_failed: bool = False


@dataclass
class Known:
    """A Dify conversation, whose it is, and the transcript that it has seen.

    `is_sure` is false once a turn that was not finished may have been its.
    """

    scope: Scope
    seen: Transcript
    is_sure: bool = True


class Memories:
    """All conversations that were ever answered from."""

    def __init__(self, dify: SimulatedDify) -> None:
        self._dify = dify
        self._known: dict[str, Known] = {}
        self._lines: dict[Scope, Line] = {}
        self.continued = 0

    def line(self, chat: Chat) -> Line:
        return self._lines.setdefault(chat.scope, Line())

    def fitting(self, chat: Chat, shown: Transcript) -> dict[str, Known]:
        """The conversations that this may continue."""
        return {
            conversation_id: known
            for conversation_id, known in self._known.items()
            if shown
            and known.scope == chat.scope
            and (known.seen == shown or (chat.style == "window" and known.seen[-len(shown) :] == shown))
        }

    def doubt(self, conversation_ids: Iterable[str]) -> None:
        """A turn that was not finished may have gone to one of these."""
        for conversation_id in conversation_ids:
            self._known[conversation_id].is_sure = False

    def forget(self, chat: Chat, conversation_id: str) -> None:
        """Delete it in Dify."""
        self._dify.forget(conversation_id, APP_KEYS[chat.chatter.model])
        del self._known[conversation_id]

    def assert_unknown(self, answer: Answer) -> None:
        assert answer.finished, f"{answer.status} {answer.text[-300:]}"
        assert answer.conversation_id not in self._known, "continued what it must not"

    def check(
        self, chat: Chat, shown: Transcript, fitting: Collection[str], question: str, answer: Answer
    ) -> Transcript:
        """Check a finished turn of a client that shows its transcript; what Dify has seen now."""
        assert answer.finished, f"{answer.status} {answer.text[-300:]}"
        known = self._known.get(answer.conversation_id)
        if any(self._known[each].is_sure for each in fitting) and not self._has_many(chat):
            assert known, f"did not continue, though it knew the transcript {shown}"
        if known:
            assert answer.conversation_id in fitting, f"continued what does not fit: {known}"
        seen = (*(known.seen if known else shown), user(question))
        self._check_memory(chat, seen, answer)
        self.continued += known is not None
        self._known[answer.conversation_id] = Known(chat.scope, (*seen, assistant(answer.text)))
        return (*seen, assistant(answer.text))

    def _has_many(self, chat: Chat) -> bool:
        """Whether a window need not be found any more: only a chat's newest branches are searched for it."""
        of_chat = sum(known.scope == chat.scope for known in self._known.values())
        return chat.style == "window" and of_chat > _SEARCHED_BRANCHES

    def check_line(self, chat: Chat, said: Transcript, question: str, answer: Answer) -> Transcript:
        """Check a finished turn of a client that shows nothing; what Dify has seen now."""
        assert answer.finished, f"{answer.status} {answer.text[-300:]}"
        line = self.line(chat)
        known = self._known.setdefault(answer.conversation_id, Known(chat.scope, ()))
        assert known.scope == chat.scope, f"continued what is another's: {known}"
        if line.conversation_id:
            assert answer.conversation_id == line.conversation_id, "did not continue"
            self.continued += 1
        line.finished |= {user(question), assistant(answer.text)}
        held = self._held(chat, answer.conversation_id)
        _assert_holds(held, (*said, user(question), assistant(answer.text)))
        strange = [text for role, text in held if role == "user" and text not in line.asked]
        assert not strange, f"holds questions of another chat: {strange}"
        if answer.text.startswith("[["):
            _assert_holds(answer.memory, (*said, user(question)))
        return tuple(message for message in held if message in line.finished)

    def _check_memory(self, chat: Chat, expected: Transcript, answer: Answer) -> None:
        held = self._held(chat, answer.conversation_id)
        assert held == [*expected, assistant(answer.text)], _difference("Dify holds", held, expected)
        if answer.text.startswith("[["):
            told = answer.memory
            assert told == list(expected), _difference("the model was told", told, expected)
        else:
            prior = _PRIOR.match(answer.text)
            assert prior, answer.text
            told_before = len(self._read(chat, answer.conversation_id)) - 2
            assert int(prior[1]) == told_before, f"the model was told {prior[1]} messages, not {told_before}"

    def _held(self, chat: Chat, conversation_id: str) -> list[Message]:
        return [said for row in self._read(chat, conversation_id) for said in unfold(row)]

    def _read(self, chat: Chat, conversation_id: str) -> list[Message]:
        caller = f"#{hashlib.sha256(chat.chatter.key.encode()).hexdigest()[:12]}"
        name = f"{caller}:{chat.name}" if chat.name else caller
        rows = self._dify.read(conversation_id, name, APP_KEYS[chat.chatter.model])
        assert rows is not None, "the conversation is not this user's"
        return rows


def _assert_holds(held: list[Message], said: Transcript) -> None:
    """All that was said is there in its order; turns that failed may stand between."""
    rest = iter(held)
    missing = [message for message in said if message not in rest]
    assert not missing, _difference("Dify lost something; it holds", held, said)


def _difference(what: str, found: list[Message], expected: Transcript) -> str:
    def short(messages: Iterable[Message]) -> str:
        return "".join(f"\n  {role}: {text[:60]!r}" for role, text in messages)

    return f"{what}{short(found)}\nand not{short(expected)}"
