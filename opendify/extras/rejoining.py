"""The rest of a workflow's run whose stream was dropped: listened to again, as a stream of chunks."""

from dataclasses import dataclass
from functools import partial

from opendify.dify.client import DifyClient
from opendify.errors import ClientLeftEarly, InvalidRequest
from opendify.extras.workflow_runs import may_be_moderated, opened_run
from opendify.files.outgoing import PublisherFor
from opendify.ids import new_id
from opendify.records import AppProfile, Clock
from opendify.runs.calls import CallTools
from opendify.runs.drain import Drain
from opendify.runs.metered import metered
from opendify.runs.opening import Opening
from opendify.runs.person import Person
from opendify.runs.rejoined_run import RejoinedRun
from opendify.runs.reply_stream import ReplyStream
from opendify.settings import DifyApp, Settings
from opendify.translate.dify_reply import reply_reader
from opendify.translate.dify_request import build_rejoining
from opendify.translate.openai_chat import ChatChoice
from opendify.translate.rejoined import RejoinedReader
from opendify.translate.reply_pipeline import ReplyPipeline, reply_filters
from opendify.translate.reply_writer import ReplyWriter
from opendify.wire.dify_extras import Rejoining


@dataclass(frozen=True, slots=True, kw_only=True)
class RejoiningTools:
    """What is needed beside `CallTools`; `now` is Unix time, for `created`."""

    settings: Settings
    client: DifyClient
    drain: Drain
    publisher_for: PublisherFor
    clock: Clock
    now: Clock


class Rejoiner:
    """Takes dropped streams up again, for those who began the runs."""

    def __init__(self, tools: CallTools, more: RejoiningTools) -> None:
        self._owners = tools.owners
        self._discovery = tools.discovery
        self._more = more

    def rejoin(self, sealed_id: str, asked: Rejoining, person: Person) -> ReplyStream:
        """Chunks, the answer as a whole at the end of its run; `frames` of the result must be closed.

        Raises:
            WorkflowRunNotFound: It is not this person's.
            InvalidRequest: The app's Dify cannot tell it.
        """
        owner = self._owners.of_person(asked.model, person.caller, person.context)
        app, run_id = opened_run(sealed_id, self._owners.who_may_answer(owner, person.caller))
        person.observation.model, person.observation.streams = app.name, True
        profile = self._discovery.profile(app)
        _refuse_old_servers(app, profile)
        more = self._more
        request = build_rejoining(run_id, owner.user)
        run = RejoinedRun(
            partial(more.client.open_run, app, request, client_socket=person.client.socket),
            self._pipeline(app, profile, sealed_id, person),
            client=person.client,
            drain=more.drain,
            record=person.observation.begin_run(app.name, profile.mode, app.api_base),
            clock=more.clock,
        )
        return ReplyStream(
            metered(run, person.spend),
            self._writer(asked),
            opening=Opening(more.settings.stream_commit_seconds, more.clock),
            observation=person.observation,
            keepalive_seconds=more.settings.keepalive_seconds,
            clock=more.clock,
        )

    def _pipeline(self, app: DifyApp, profile: AppProfile, sealed_id: str, person: Person) -> ReplyPipeline:
        reader = RejoinedReader(
            reply_reader(profile.mode, app.output, app.steps),
            sealed_id,
            may_be_moderated=may_be_moderated(profile),
        )
        publish = self._more.publisher_for(app, person.caller, partial(_refuse_the_gone, person))
        filters = reply_filters(app.reasoning, (), app.citations, publish, app.api_base)
        return ReplyPipeline(reader, filters)

    def _writer(self, asked: Rejoining) -> ReplyWriter:
        return ReplyWriter(
            ChatChoice(),
            completion_id=f"chatcmpl-{new_id()}",
            created=int(self._more.now()),
            model=asked.model,
            include_usage=asked.include_usage,
        )


def _refuse_old_servers(app: DifyApp, profile: AppProfile) -> None:
    """Where the version is not known, Dify itself is asked."""
    if not profile.can_be_rejoined:
        raise InvalidRequest(
            f"The stream of a run can be taken up again from Dify 1.14 on, and the app behind the model "
            f"{app.name!r} runs on an older one. GET the run itself, without '/events': it tells what "
            "became of it.",
            code="unsupported_value",
        )


def _refuse_the_gone(person: Person) -> None:
    if person.client.is_gone():
        raise ClientLeftEarly("The client closed the connection before the answer was whole")
