"""What one run is made of: the app as Dify has it, the turn's conversation, its files, a place at Dify."""

from dataclasses import dataclass
from functools import partial

import msgspec

from opendify.attachments.desk import RequestFiles
from opendify.conversations.identity import dify_user
from opendify.dify.client import DifyClient
from opendify.dify.concurrency import Concurrency, Place
from opendify.dify.discovery import Discovery
from opendify.dify.memory import DifyMemory
from opendify.errors import ConversationNotFound
from opendify.files.outgoing import PublisherFor
from opendify.paused_runs import PausedRuns, Resumption, resume_run
from opendify.records import Clock
from opendify.runs.drain import Drain
from opendify.runs.person import Person
from opendify.runs.run import OpenRun, Run
from opendify.settings import DifyApp, Settings
from opendify.telemetry.instruments import CONVERSATIONS
from opendify.telemetry.observation import RunRecord
from opendify.translate.dify_request import DifyRequest, build_request
from opendify.translate.reply_pipeline import build_pipeline
from opendify.translate.run_ids import seal_run_id
from opendify.translate.turn import Turn
from opendify.turns.held import HeldTurn, begin_turn
from opendify.turns.request import TurnRequest, TurnTools


@dataclass(frozen=True, slots=True, kw_only=True)
class RunTools:
    """What all runs share."""

    settings: Settings
    client: DifyClient
    discovery: Discovery
    concurrency: Concurrency
    drain: Drain
    turns: TurnTools
    memory: DifyMemory
    paused_runs: PausedRuns
    publisher_for: PublisherFor
    clock: Clock


class RunOpener:
    """Begins runs of apps, each for one turn."""

    def __init__(self, tools: RunTools) -> None:
        self._tools = tools

    def begin(self, app: DifyApp, turn: Turn, files: RequestFiles, person: Person) -> Run:
        """A run at Dify, which is open.

        Raises:
            GatewayError: It could not be opened.
        """
        tools, context = self._tools, person.context
        profile = tools.discovery.profile(app)
        user = dify_user(context, person.caller, tools.settings.dify_user_prefix)
        asked = TurnRequest(turn, app, profile, person.caller, user, context)
        resumption = tools.paused_runs.find(asked)
        held = begin_turn(asked, tools.turns)
        CONVERSATIONS.add(_kind_of_turn(turn, held))
        record = person.observation.begin_run(app.name, profile.mode, app.api_base)
        return Run(
            _Opening(tools, asked, held, files, person, resumption, record).open,
            held,
            client=person.client,
            drain=tools.drain,
            clock=tools.clock,
            on_app_error=lambda: tools.discovery.forget(app),
            seal_run_id=partial(seal_run_id, app_key=app.api_key, user=user),
            on_answered=partial(tools.paused_runs.answered, asked, resumption),
            record=record,
        )


class _Opening(msgspec.Struct, eq=False):
    """Opens one turn's run, and again where its conversation is gone."""

    tools: RunTools
    asked: TurnRequest
    held: HeldTurn
    files: RequestFiles
    person: Person
    resumption: Resumption | None
    record: RunRecord

    def open(self, handed_over: Place | None) -> OpenRun:
        """In a place at Dify: the one of the run before, if there was one."""
        self._check_conversation()
        place = handed_over or self.tools.concurrency.take(self.asked.app, self.person.client)
        try:
            return self._open_in(place)
        except BaseException:
            place.give_back()
            raise

    def _open_in(self, place: Place) -> OpenRun:
        tools, asked, person, trace = self.tools, self.asked, self.person, self.record.trace
        person.refuse_if_gone()
        dify_request = resume_run(tools.client, asked, self.resumption, self.held.user) or self._new_run()
        if trace:
            dify_request = dify_request.traced(trace.trace_id, trace.traceparent)
        events = tools.client.open_run(asked.app, dify_request, client_socket=person.client.socket)
        publish = tools.publisher_for(asked.app, person.caller, person.refuse_if_gone)
        return OpenRun(events, build_pipeline(asked.app, asked.profile, asked.turn.stop, publish), place)

    def _new_run(self) -> DifyRequest:
        asked, held = self.asked, self.held
        # Dify gives a file only to the user who uploaded it.
        handed = self.files.hand_over(asked.app, asked.profile, held.user, asked.turn.inputs)
        if handed.files:
            self.person.refuse_if_gone()
        return build_request(
            handed.beside(held.text),
            asked.app,
            asked.profile,
            user=held.user,
            files=handed.files,
            conversation_id=held.conversation_id,
            auto_generate_name=self.tools.settings.auto_generate_name and not asked.context.is_task,
        )

    def _check_conversation(self) -> None:
        held = self.held
        if held.conversation_id is None:
            return
        try:
            self.tools.memory.check(self.asked.app, self.asked.profile, held.conversation_id, held.user)
        except ConversationNotFound:
            if not held.begin_anew():
                raise


def _kind_of_turn(turn: Turn, held: HeldTurn) -> str:
    if held.conversation_id is not None:
        return "continued"
    return "replayed" if turn.history else "new"
