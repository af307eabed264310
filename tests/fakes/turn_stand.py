"""Turns of clients over one store, and a Dify that remembers what it was told."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count

from opendify.conversations.identity import ClientContext
from opendify.conversations.replay import Templates
from opendify.errors import ConversationNotFound
from opendify.records import AppProfile, Caller, InputField
from opendify.settings import AppMode, DifyApp, IntoInput
from opendify.stores import ConversationStore
from opendify.stores.forgiving import ForgivingStore
from opendify.translate.turn import HistoryMessage, ReplyStarted, Turn
from opendify.turns.held import HeldTurn, begin_turn
from opendify.turns.request import TurnRequest, TurnTools
from tests.fakes.clocks import FakeClock
from tests.fakes.memory_store import MemoryStore

SPACING_SECONDS = 1.0
# A first turn's query is then one line a message, which `ClientTurn.sees` reads back.
_TEMPLATES = Templates(history="{text}", query="User: {text}")
_SPEAKERS = ("User: ", "Assistant: ")


@dataclass(frozen=True)
class Sender:
    """Who asks which app, in the words of a `TurnRequest`; `user` is Dify's."""

    context: ClientContext = field(default_factory=ClientContext)
    caller: str = "team"
    user: str = "team:ann"
    model: str = "bot"
    api_key: str = "app-bot"
    mode: AppMode = "chat"
    form: tuple[InputField, ...] = ()
    history: IntoInput | None = None

    def app(self) -> DifyApp:
        return DifyApp(
            name=self.model,
            api_key=self.api_key,
            api_base="http://dify.test/v1",
            history=self.history or "auto",
        )


def in_chat(chat_id: str = "chat-1", *, whole: bool = False) -> Sender:
    """A client that says which chat it is; `whole`: one known to send whole transcripts."""
    return Sender(ClientContext(chat_id=chat_id, sends_whole_transcripts=whole))


def naming(conversation_id: str) -> Sender:
    """A client that names a conversation of Dify's in a header."""
    return Sender(ClientContext(conversation_id=conversation_id))


NOBODY_KNOWN = Sender()


def transcript(*texts: str) -> tuple[HistoryMessage, ...]:
    """Messages of person and assistant in turns, the person first."""
    return tuple(HistoryMessage("assistant" if n % 2 else "user", text) for n, text in enumerate(texts))


class ClientTurn:
    """One turn from its beginning on."""

    def __init__(self, stand: "TurnStand", held: HeldTurn, request: TurnRequest) -> None:
        self.held = held
        self.request = request
        self.sees: list[str] = []
        """All messages that the model is shown, its memory first; known once Dify accepted the turn."""
        self.conversation_id = ""
        self._stand = stand
        self._answer_goes_to: list[HistoryMessage] = []

    @property
    def query(self) -> str:
        return self.held.text.query

    def accept(self) -> "ClientTurn":
        """Dify takes the turn, in a new conversation where the old one is gone."""
        memory = self._stand.memory
        if self.held.conversation_id and self.held.conversation_id not in memory:
            self._be_refused()
        self.conversation_id = self.held.conversation_id or self._stand.new_conversation()
        known = memory[self.conversation_id]
        told = [_without_speaker(line) for line in self.query.split("\n\n")]
        self.sees = [message.text for message in known] + told
        roles = (HistoryMessage("user" if n % 2 == 0 else "assistant", text) for n, text in enumerate(told))
        known.extend(roles)
        self._answer_goes_to = known
        assert self.held.started(self.reply())
        return self

    def reply(self, conversation_id: str = "") -> ReplyStarted:
        return ReplyStarted("task-1", "message-1", conversation_id or self.conversation_id)

    def answer(self, text: str) -> "ClientTurn":
        self._answer_goes_to.append(HistoryMessage("assistant", text))
        self.held.finish(text)
        return self

    def break_off(self, said: str = "") -> "ClientTurn":
        """Dify keeps what was said; the client was given something else."""
        if said:
            self._answer_goes_to.append(HistoryMessage("assistant", said))
        self.held.abandon(may_have_begun=True)
        return self

    def _be_refused(self) -> None:
        if self._stand.begins_anew_silently:
            assert not self.held.started(self.reply(self._stand.new_conversation()))
        if not self.held.begin_anew():
            raise ConversationNotFound("gone")


@dataclass
class TurnStand:
    """`memory` is Dify's; time passes only where the code under test sleeps, or a test says so."""

    store: ConversationStore = field(default_factory=MemoryStore)
    begins_anew_silently: bool = False
    clock: FakeClock = field(default_factory=FakeClock)
    memory: dict[str, list[HistoryMessage]] = field(default_factory=dict)
    slept: list[float] = field(default_factory=list)
    deleted: list[tuple[str, str]] = field(default_factory=list)
    read_as: list[str] = field(default_factory=list)
    """The users in whose name messages were read back."""
    _numbers: Iterator[int] = field(default_factory=lambda: count(1))

    def __post_init__(self) -> None:
        self.forgiving = ForgivingStore(self.store)
        self.tools = TurnTools(
            store=self.forgiving,
            read_messages=self._read,
            delete_conversation=lambda _, conversation_id, user: self.deleted.append((conversation_id, user)),
            replay_max_chars=10_000,
            spacing_seconds=SPACING_SECONDS,
            templates=_TEMPLATES,
            now=self.clock,
            sleep=self._sleep,
        )

    def begin(
        self,
        *texts: str,
        by: Sender = NOBODY_KNOWN,
        system: str = "",
        inputs: Mapping[str, object] | None = None,
    ) -> ClientTurn:
        """The turn whose whole transcript is `texts`; the last one is new."""
        messages = transcript(*texts)
        goes_on = messages[-1].role == "assistant"
        turn = Turn(
            query="Go on" if goes_on else texts[-1],
            history=messages if goes_on else messages[:-1],
            system=system,
            inputs=inputs or {},
            newest=None if goes_on else messages[-1],
        )
        return self.begin_with(turn, by)

    def begin_with(self, turn: Turn, by: Sender = NOBODY_KNOWN) -> ClientTurn:
        profile = AppProfile(by.mode, form=by.form)
        request = TurnRequest(turn, by.app(), profile, Caller(by.caller), by.user, by.context)
        return ClientTurn(self, begin_turn(request, self.tools), request)

    def say(
        self,
        *texts: str,
        answer: str,
        by: Sender = NOBODY_KNOWN,
        system: str = "",
        inputs: Mapping[str, object] | None = None,
    ) -> ClientTurn:
        """One whole turn; long enough after the one before it."""
        self.clock.advance(10)
        return self.begin(*texts, by=by, system=system, inputs=inputs).accept().answer(answer)

    def new_conversation(self) -> str:
        conversation_id = f"conversation-{next(self._numbers)}"
        self.memory[conversation_id] = []
        return conversation_id

    def _read(self, app: DifyApp, conversation_id: str, user: str) -> Sequence[HistoryMessage]:
        self.read_as.append(user)
        if conversation_id not in self.memory:
            raise ConversationNotFound("gone")
        return list(self.memory[conversation_id])

    def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.clock.advance(seconds)


def _without_speaker(line: str) -> str:
    return next((line.removeprefix(name) for name in _SPEAKERS if line.startswith(name)), line)
