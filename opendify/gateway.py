"""Joins translation, conversations and Dify: one method an endpoint."""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial

from opendify.attachments.desk import FileDesk, RequestFiles
from opendify.conversations.identity import ClientContext, dify_user
from opendify.conversations.replay import Templates
from opendify.conversations.tasks import is_task
from opendify.dify.client import DifyClient
from opendify.dify.concurrency import Concurrency, Place
from opendify.dify.discovery import Discovery
from opendify.dify.memory import DifyMemory
from opendify.errors import ClientLeftEarly, ConversationNotFound, InvalidRequest, ModelNotFound
from opendify.files.outgoing import PublisherFor, as_dify_publishes
from opendify.paused_runs import PausedRuns, resume_run
from opendify.records import NOBODY, AppProfile, Caller, Client, Clock
from opendify.runs.attempts import Attempt
from opendify.runs.drain import Drain
from opendify.runs.fallbacks import Candidate, Fallbacks
from opendify.runs.metered import metered
from opendify.runs.observed import observe_end, observe_start
from opendify.runs.opening import Opening
from opendify.runs.repeats import Answer, Asked, KeepTimes, Repeats
from opendify.runs.reply_stream import ReplyStream
from opendify.runs.retried_run import RetriedRun
from opendify.runs.run import OpenRun, Run
from opendify.settings import DifyApp, Settings
from opendify.stores.answer_keeper import AnswerKeeper
from opendify.stores.answers import AnswerStore
from opendify.stores.base import ConversationStore
from opendify.stores.forgiving import ForgivingStore
from opendify.stores.housekeeping import Housekeeping
from opendify.telemetry.instruments import CONVERSATIONS
from opendify.telemetry.observation import Observation
from opendify.translate.dify_request import DifyRequest, build_request
from opendify.translate.openai_chat import ChatChoice, chat_completion
from opendify.translate.openai_completions import CompletionChoice, read_prompt, text_completion
from opendify.translate.openai_messages import read_turn
from opendify.translate.openai_models import model_shape
from opendify.translate.reply_pipeline import build_pipeline
from opendify.translate.reply_writer import ChoiceShapes, ReplyWriter
from opendify.translate.run_ids import seal_run_id
from opendify.translate.stream_writer import StreamWriter
from opendify.translate.turn import Reply, ReplyStarted, Turn, collect_reply
from opendify.turns import HeldTurn, TurnRequest, TurnTools, begin_turn
from opendify.wire.openai_chat import AnswerRequest, ChatCompletionRequest
from opendify.wire.openai_completions import CompletionRequest

_CONNECTED_BY_THEN_SECONDS = 0.5

WriterFactory = Callable[[str, int], StreamWriter]
"""Makes what writes a stream whose answer has this id and began at this Unix time."""


@dataclass(frozen=True, slots=True)
class WholeAnswer:
    """A body, and what its response headers can tell."""

    body: Mapping[str, object]
    started: ReplyStarted
    memory_was_lost: bool


@dataclass(frozen=True, slots=True)
class CollectedReply:
    """A reply, what it is called, and whether the client counts on a memory that is gone."""

    id: str
    created: int
    reply: Reply
    memory_was_lost: bool


@dataclass(frozen=True, slots=True)
class Person:
    """For whom a run is: the holder of a key, the user that the request names, and who waits for it.

    `attempt` is None where the client gives no sign that it would repeat the request, `spend`
    where nobody counts the tokens of its answer.
    """

    caller: Caller
    context: ClientContext
    client: Client = NOBODY
    attempt: Attempt | None = None
    observation: Observation = field(default_factory=Observation)
    spend: Callable[[int], None] | None = None


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
        self._publisher_for = publisher_for
        self._discovery = discovery or Discovery(
            client, ttl_seconds=settings.app_profile_ttl_seconds, clock=clock
        )
        self._concurrency = concurrency or Concurrency(settings, clock=clock)
        self._clock = clock
        self._now = now
        self._sleep = sleep
        self._memory = DifyMemory(client)
        self._files = files or FileDesk(client, settings.attachments, now=now)
        self._paused_runs = PausedRuns(answers, now=now)
        forgiving_store = ForgivingStore(store)
        self._repeats = _repeats(settings, answers, self._drain, now, sleep)
        self._housekeeping = Housekeeping(
            forgiving_store,
            ttl_seconds=settings.conversation_ttl_days * 86_400,
            most=settings.conversation_max,
            now=now,
            more=self._repeats.clean_up,
        )
        self._turn_tools = TurnTools(
            store=forgiving_store,
            read_messages=self._memory.read_messages,
            delete_conversation=self._memory.delete_later,
            replay_max_chars=settings.replay_max_chars,
            spacing_seconds=settings.dify_message_time_resolution_seconds,
            templates=Templates(**(settings.replay_templates or {})),
            now=now,
            sleep=sleep,
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
    ) -> Fallbacks:
        """Everything from the model's name to a run that goes on at Dify.

        `opening` is the stream's; None where the answer leaves as a whole.
        """
        self._drain.refuse_new()
        self._housekeeping.remind()
        context = person.context
        if not context.conversation_id and is_task(turn, streamed=opening is not None):
            person = replace(person, context=replace(context, is_task=True))
        app = self.find_app(request.model or "", person.caller, for_task=person.context.is_task)
        person.observation.model = app.name
        files = self._files.take(turn.attachments, person.caller, partial(self._look_up, person))
        turn = replace(turn, attachments=()) if turn.attachments else turn
        return Fallbacks(
            [
                Candidate(each.name, partial(self._begin_tries, each, turn, files, person))
                for each in self._apps_for(app, person)
            ],
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
            partial(self._begin_run, app, turn, files, person),
            self._client.retries(app),
            client=person.client,
            clock=self._clock,
            sleep=self._sleep,
            renew_files=files.forget_uploads,
        )

    def _look_up(self, person: Person) -> None:
        """Wait no longer for what nobody waits for, or the process cannot finish."""
        _refuse_the_gone(person)
        self._drain.refuse_new()

    def _begin_run(self, app: DifyApp, turn: Turn, files: RequestFiles, person: Person) -> Run:
        context = person.context
        profile = self._discovery.profile(app)
        user = dify_user(context, person.caller, self._settings.dify_user_prefix)
        asked = TurnRequest(turn, app, profile, person.caller, user, context)
        resumption = self._paused_runs.find(asked)
        held = begin_turn(asked, self._turn_tools)
        CONVERSATIONS.add(_kind_of_turn(turn, held))
        record = person.observation.begin_run(app.name, profile.mode, app.api_base)

        def open_run(handed_over: Place | None) -> OpenRun:
            self._check_conversation(app, profile, held)
            place = handed_over or self._concurrency.take(app, person.client)
            try:
                return open_in(place)
            except BaseException:
                place.give_back()
                raise

        def open_in(place: Place) -> OpenRun:
            _refuse_the_gone(person)
            dify_request = resume_run(self._client, asked, resumption, held.user)
            if dify_request is None:
                dify_request = self._new_run(asked, held, files, person)
            if record.trace:
                dify_request = dify_request.traced(record.trace.trace_id, record.trace.traceparent)
            events = self._client.open_run(app, dify_request, client_socket=person.client.socket)
            publish = self._publisher_for(app, person.caller, partial(_refuse_the_gone, person))
            return OpenRun(events, build_pipeline(app, profile, turn.stop, publish), place)

        return Run(
            open_run,
            held,
            client=person.client,
            drain=self._drain,
            clock=self._clock,
            on_app_error=lambda: self._discovery.forget(app),
            seal_run_id=partial(seal_run_id, app_key=app.api_key, user=user),
            on_answered=partial(self._paused_runs.answered, asked, resumption),
            record=record,
        )

    def _new_run(
        self, asked: TurnRequest, held: HeldTurn, files: RequestFiles, person: Person
    ) -> DifyRequest:
        # Dify gives a file only to the user who uploaded it.
        handed = files.hand_over(asked.app, asked.profile, held.user, asked.turn.inputs)
        if handed.files:
            _refuse_the_gone(person)
        return build_request(
            handed.beside(held.text),
            asked.app,
            asked.profile,
            user=held.user,
            files=handed.files,
            conversation_id=held.conversation_id,
            auto_generate_name=self._settings.auto_generate_name and not asked.context.is_task,
        )

    def _check_conversation(self, app: DifyApp, profile: AppProfile, held: HeldTurn) -> None:
        if held.conversation_id is None:
            return
        try:
            self._memory.check(app, profile, held.conversation_id, held.user)
        except ConversationNotFound:
            if not held.begin_anew():
                raise


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


def _kind_of_turn(turn: Turn, held: HeldTurn) -> str:
    if held.conversation_id is not None:
        return "continued"
    return "replayed" if turn.history else "new"


def _refuse_the_gone(person: Person) -> None:
    """Begin nothing that has to be paid for when nobody waits for it any more."""
    if person.client.is_gone():
        raise ClientLeftEarly("The client closed the connection before the run began")


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
    return f"{prefix}{os.urandom(12).hex()}"
