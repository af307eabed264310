"""Joins translation, conversations and Dify: one method an endpoint."""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from functools import partial

import msgspec
from msgspec import structs

from opendify.attachments.desk import FileDesk, RequestFiles
from opendify.conversations.identity import dify_user
from opendify.conversations.replay import Templates
from opendify.conversations.tasks import is_task
from opendify.dify.client import DifyClient
from opendify.dify.concurrency import Concurrency
from opendify.dify.discovery import Discovery
from opendify.dify.memory import DifyMemory
from opendify.errors import InvalidRequest, ModelNotFound
from opendify.files.outgoing import PublisherFor, as_dify_publishes
from opendify.ids import new_id
from opendify.paused_runs import PausedRuns
from opendify.records import Caller, Clock
from opendify.run_opener import RunOpener, RunTools
from opendify.runs.drain import Drain
from opendify.runs.fallbacks import Candidate, Fallbacks
from opendify.runs.metered import metered
from opendify.runs.observed import observe_end, observe_start
from opendify.runs.opening import Opening
from opendify.runs.person import Person
from opendify.runs.repeats import Answer, Asked, KeepTimes, Repeats
from opendify.runs.reply_stream import ReplyStream
from opendify.runs.retried_run import RetriedRun
from opendify.runs.source import ReplySource
from opendify.settings import DifyApp, Settings
from opendify.stores.answer_keeper import AnswerKeeper
from opendify.stores.answers import AnswerStore
from opendify.stores.base import ConversationStore
from opendify.stores.forgiving import ForgivingStore
from opendify.stores.housekeeping import Housekeeping
from opendify.translate.openai_chat import ChatChoice, chat_completion
from opendify.translate.openai_completions import CompletionChoice, read_prompt, text_completion
from opendify.translate.openai_messages import read_turn
from opendify.translate.openai_models import model_shape
from opendify.translate.reply_writer import ChoiceShapes, ReplyWriter
from opendify.translate.stream_writer import StreamWriter
from opendify.translate.turn import Reply, ReplyStarted, Turn, collect_reply
from opendify.turns.request import TurnTools
from opendify.wire.openai_chat import AnswerRequest, ChatCompletionRequest
from opendify.wire.openai_completions import CompletionRequest

_CONNECTED_BY_THEN_SECONDS = 0.5

WriterFactory = Callable[[str, int], StreamWriter]
"""Makes what writes a stream whose answer has this id and began at this Unix time."""


class WholeAnswer(msgspec.Struct, frozen=True):
    """A body, and what its response headers can tell."""

    body: Mapping[str, object]
    started: ReplyStarted
    memory_was_lost: bool


class CollectedReply(msgspec.Struct, frozen=True):
    """A reply, what it is called, and whether the client counts on a memory that is gone."""

    id: str
    created: int
    reply: Reply
    memory_was_lost: bool


class Gateway:
    """What the API can do. Opens nothing before it is used."""

    def __init__(
        self,
        settings: Settings,
        client: DifyClient,
        store: ConversationStore,
        *,
        answers: AnswerStore | None = None,
        files: FileDesk | None = None,
        drain: Drain | None = None,
        concurrency: Concurrency | None = None,
        discovery: Discovery | None = None,
        publisher_for: PublisherFor = as_dify_publishes,
        clock: Clock = time.monotonic,
        now: Clock = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """`clock` measures waiting; `now` is Unix time, for `created` and the stores.

        Without `answers` nothing is kept for requests that are repeated. `files` hands over what
        requests bring.
        """
        self._drain = drain or Drain(clock=clock)
        self._settings = settings
        self._client = client
        self._discovery = discovery or Discovery(
            client, ttl_seconds=settings.app_profile_ttl_seconds, clock=clock
        )
        self._clock = clock
        self._now = now
        self._sleep = sleep
        self._files = files or FileDesk(client, settings.attachments, now=now)
        forgiving_store = ForgivingStore(store)
        self._repeats = _repeats(settings, answers, self._drain, now, sleep)
        self._housekeeping = Housekeeping(
            forgiving_store,
            ttl_seconds=settings.conversation_ttl_days * 86_400,
            most=settings.conversation_max,
            now=now,
            more=self._repeats.clean_up,
        )
        memory = DifyMemory(client)
        self._runs = RunOpener(
            RunTools(
                settings=settings,
                client=client,
                discovery=self._discovery,
                concurrency=concurrency or Concurrency(settings, clock=clock),
                drain=self._drain,
                turns=_turn_tools(settings, forgiving_store, memory, now, sleep),
                memory=memory,
                paused_runs=PausedRuns(answers, now=now),
                publisher_for=publisher_for,
                clock=clock,
            )
        )

    def list_models(self, caller: Caller) -> list[Mapping[str, object]]:
        """The caller's models and their aliases, in table order; asks nobody: it answers with Dify down."""
        apps = (caller.app,) if caller.app else self._settings.models
        names = ((app, name) for app in apps for name in (app.name, *app.aliases))
        return [model_shape(name, None) for app, name in names if caller.may_use(name, app.name)]

    def get_model(self, name: str, caller: Caller) -> Mapping[str, object]:
        """One model, with what is known of its app already.

        Raises:
            ModelNotFound: No such model, or not for this caller.
        """
        app = self.find_app(name, caller)
        return model_shape(name, self._discovery.known_profile(app), app.description)

    def stream_chat_completion(self, request: ChatCompletionRequest, person: Person) -> ReplyStream:
        """Chunks; `frames` of the result must be closed."""
        make_writer = partial(_reply_writer, ChatChoice(), request)
        return self.stream(request, read_turn(request), make_writer, "chatcmpl-", person)

    def create_chat_completion(self, request: ChatCompletionRequest, person: Person) -> WholeAnswer:
        """A whole chat completion."""
        collected = self.collect(request, read_turn(request), "chatcmpl-", person)
        body = chat_completion(
            collected.reply,
            completion_id=collected.id,
            created=collected.created,
            model=request.model or "",
        )
        return WholeAnswer(body, collected.reply.started, collected.memory_was_lost)

    def stream_completion(self, request: CompletionRequest, person: Person) -> ReplyStream:
        """Text completion objects; `frames` of the result must be closed."""
        turn = read_prompt(request)
        make_writer = partial(_reply_writer, CompletionChoice(_echo(request, turn)), request)
        return self.stream(request, turn, make_writer, "cmpl-", person)

    def create_completion(self, request: CompletionRequest, person: Person) -> WholeAnswer:
        """A whole text completion."""
        turn = read_prompt(request)
        collected = self.collect(request, turn, "cmpl-", person)
        body = text_completion(
            collected.reply,
            completion_id=collected.id,
            created=collected.created,
            model=request.model or "",
            echo=_echo(request, turn),
        )
        return WholeAnswer(body, collected.reply.started, collected.memory_was_lost)

    def stream(
        self, request: AnswerRequest, turn: Turn, make_writer: WriterFactory, id_prefix: str, person: Person
    ) -> ReplyStream:
        """The answer in the form of one endpoint; `frames` of the result must be closed."""
        opening = self._opening(request)
        answer = self._begin_answer(request, turn, id_prefix, person, opening)
        return ReplyStream(
            answer.source,
            make_writer(answer.id, answer.created),
            opening=opening,
            observation=person.observation,
            keepalive_seconds=self._settings.keepalive_seconds,
            clock=self._clock,
        )

    def collect(self, request: AnswerRequest, turn: Turn, id_prefix: str, person: Person) -> CollectedReply:
        """The answer as a whole."""
        answer = self._begin_answer(request, turn, id_prefix, person, None)
        with closing(answer.source) as source:
            reply = collect_reply(source.replies())
            source.settle(reply.text)
            observe_start(person.observation, reply.started)
            observe_end(person.observation, reply.ended)
            person.observation.memory_was_lost = source.memory_was_lost
            return CollectedReply(answer.id, answer.created, reply, source.memory_was_lost)

    def find_app(self, model: str, caller: Caller, *, for_task: bool = False) -> DifyApp:
        """The app behind a model's name; a chore of a client's goes to the app's `background_model`.

        Raises:
            InvalidRequest: No model is named.
            ModelNotFound: No such model, or not for this caller.
        """
        if not model:
            raise InvalidRequest("you must provide a model parameter")
        if caller.app:
            return caller.app
        app = self._settings.find_model(model)
        if app is None or not caller.may_use(model, app.name):
            raise ModelNotFound(
                f"The model {model[:100]!r} does not exist or you do not have access to it.", param="model"
            )
        background = self._settings.find_model(app.background_model or "") if for_task else None
        return background if background and caller.may_use(background.name) else app

    def close(self) -> None:
        """Close what was opened."""
        self._client.close()
        self._repeats.close()
        self._files.close()

    def _opening(self, request: AnswerRequest) -> Opening:
        """A model with fallbacks waits until it is known whether its server can be reached."""
        app = self._settings.find_model(request.model or "")
        seconds = self._settings.stream_commit_seconds
        if app and app.fallbacks:
            connected_by_then = self._settings.dify_connect_timeout_seconds + _CONNECTED_BY_THEN_SECONDS
            seconds = max(seconds, connected_by_then)
        return Opening(seconds, self._clock)

    def _begin_answer(
        self,
        request: AnswerRequest,
        turn: Turn,
        id_prefix: str,
        person: Person,
        opening: Opening | None,
    ) -> Answer:
        person.observation.streams = opening is not None
        if asked_for := self._settings.find_model(request.model or ""):
            person.observation.model = asked_for.name
        asked = Asked(
            attempt=person.attempt,
            id=_new_id(id_prefix),
            user=dify_user(person.context, person.caller, self._settings.dify_user_prefix),
            begin=lambda: metered(self._begin_fallbacks(request, turn, person, opening), person.spend),
            client=person.client,
        )
        answer = self._repeats.answer(asked)
        person.observation.is_repeat = answer.is_repeat
        return answer

    def _begin_fallbacks(
        self, request: AnswerRequest, turn: Turn, person: Person, opening: Opening | None
    ) -> ReplySource:
        """Everything from the model's name to a run that goes on at Dify.

        `opening` is the stream's; None where the answer leaves as a whole.
        """
        self._drain.refuse_new()
        self._housekeeping.remind()
        context = person.context
        if not context.conversation_id and is_task(turn, streamed=opening is not None):
            person = structs.replace(person, context=structs.replace(context, is_task=True))
        app = self.find_app(request.model or "", person.caller, for_task=person.context.is_task)
        person.observation.model = app.name
        files = self._files.take(turn.attachments, person.caller, partial(self._look_up, person))
        turn = structs.replace(turn, attachments=()) if turn.attachments else turn
        apps = self._apps_for(app, person)
        if len(apps) == 1:
            return self._begin_tries(app, turn, files, person)
        return Fallbacks(
            [Candidate(each.name, partial(self._begin_tries, each, turn, files, person)) for each in apps],
            after_failed_runs=app.fallback_on == "failed",
            opening=opening,
            request_id=person.observation.request_id,
        )

    def _apps_for(self, app: DifyApp, person: Person) -> Sequence[DifyApp]:
        """The app that was asked for, then those that may answer in its place, for this person."""
        # No other app knows a conversation of this one's.
        if not app.fallbacks or person.context.conversation_id:
            return [app]
        fallbacks = (self._settings.find_model(name) for name in app.fallbacks)
        may_use = person.caller.may_use
        return list(dict.fromkeys([app, *(each for each in fallbacks if each and may_use(each.name))]))

    def _begin_tries(self, app: DifyApp, turn: Turn, files: RequestFiles, person: Person) -> RetriedRun:
        return RetriedRun(
            partial(self._runs.begin, app, turn, files, person),
            self._client.retries(app),
            model=app.name,
            client=person.client,
            clock=self._clock,
            sleep=self._sleep,
            renew_files=files.forget_uploads,
        )

    def _look_up(self, person: Person) -> None:
        """Wait no longer for what nobody waits for, or the process cannot finish."""
        person.refuse_if_gone()
        self._drain.refuse_new()


def _turn_tools(
    settings: Settings,
    store: ForgivingStore,
    memory: DifyMemory,
    now: Clock,
    sleep: Callable[[float], None],
) -> TurnTools:
    return TurnTools(
        store=store,
        read_messages=memory.read_messages,
        delete_conversation=memory.delete_later,
        replay_max_chars=settings.replay_max_chars,
        spacing_seconds=settings.dify_message_time_resolution_seconds,
        templates=Templates(**(settings.replay_templates or {})),
        now=now,
        sleep=sleep,
    )


def _repeats(
    settings: Settings,
    answers: AnswerStore | None,
    drain: Drain,
    now: Clock,
    sleep: Callable[[float], None],
) -> Repeats:
    times = KeepTimes(settings.repeat_window_seconds, settings.idempotency_key_ttl_seconds)
    keeper = None
    if answers is not None:
        most_bytes = settings.answer_store_max_bytes
        keeper = AnswerKeeper(answers, crash_seconds=times.repeat_seconds, most_bytes=most_bytes, now=now)
    patience_seconds = settings.dify_total_timeout_seconds
    return Repeats(keeper, times, patience_seconds=patience_seconds, drain=drain, now=now, sleep=sleep)


def _echo(request: CompletionRequest, turn: Turn) -> str:
    return turn.query if request.echo else ""


def _reply_writer(
    shapes: ChoiceShapes, request: AnswerRequest, completion_id: str, created: int
) -> ReplyWriter:
    return ReplyWriter(
        shapes,
        completion_id=completion_id,
        created=created,
        model=request.model or "",
        include_usage=bool(request.stream_options and request.stream_options.include_usage),
    )


def _new_id(prefix: str) -> str:
    return f"{prefix}{new_id()}"
