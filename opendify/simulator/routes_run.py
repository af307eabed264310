"""Running an app: the three run endpoints and their stops."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial

from flask import Blueprint, Response, request
from flask.typing import ResponseReturnValue

from opendify.simulator.apps import CHAT_MODES, GRAPH_MODES
from opendify.simulator.blocking import build_blocking_body
from opendify.simulator.errors import DifyError, app_unavailable, invalid_param, wrong_mode
from opendify.simulator.faults import break_body, ping_and_silence, refusal, write_frames
from opendify.simulator.inputs import model_text
from opendify.simulator.memory import ReceivedRequest
from opendify.simulator.payload import PayloadReader, RunPayload, read_user
from opendify.simulator.rejoining import logged
from opendify.simulator.server import cut_connection
from opendify.simulator.serving_context import Caller, Json, json_response, read_body, require_app, world
from opendify.simulator.starting import TurnStarter, refuse_blocking
from opendify.simulator.streams import counted, refused_by_worker, through_worker
from opendify.simulator.turns import stable_id
from opendify.simulator.words import SteeringWords, read_words

blueprint = Blueprint("run", __name__, url_prefix="/v1")

_EVENT_STREAM = "text/event-stream; charset=utf-8"


@dataclass(frozen=True)
class _Endpoint:
    """One run endpoint: which apps it takes, how it refuses others, what it calls its payload."""

    modes: frozenset[str]
    refusal_of_others: Callable[[], DifyError]
    payload_model: str
    query_required: bool = False
    in_conversation: bool = False

    def check_mode(self, caller: Caller) -> None:
        if caller.app.mode not in self.modes:
            raise self.refusal_of_others()


_CHAT = _Endpoint(
    CHAT_MODES,
    partial(wrong_mode, "not_chat_app"),
    "ChatRequestPayload",
    query_required=True,
    in_conversation=True,
)
_COMPLETION = _Endpoint(frozenset({"completion"}), app_unavailable, "CompletionRequestPayload")
_WORKFLOW = _Endpoint(frozenset({"workflow"}), partial(wrong_mode, "not_workflow_app"), "WorkflowRunPayload")


@blueprint.post("/chat-messages")
def run_chat() -> ResponseReturnValue:
    return _run(_CHAT)


@blueprint.post("/completion-messages")
def run_completion() -> ResponseReturnValue:
    return _run(_COMPLETION)


@blueprint.post("/workflows/run")
def run_workflow() -> ResponseReturnValue:
    return _run(_WORKFLOW)


@blueprint.post("/workflows/<workflow_id>/run")
def run_workflow_version(workflow_id: str) -> ResponseReturnValue:
    del workflow_id  # Every published version behaves the same here.
    return _run(_WORKFLOW)


@blueprint.post("/chat-messages/<task_id>/stop")
def stop_chat(task_id: str) -> ResponseReturnValue:
    return _stop(_CHAT, task_id)


@blueprint.post("/completion-messages/<task_id>/stop")
def stop_completion(task_id: str) -> ResponseReturnValue:
    return _stop(_COMPLETION, task_id)


@blueprint.post("/workflows/tasks/<task_id>/stop")
def stop_workflow(task_id: str) -> ResponseReturnValue:
    return _stop(_WORKFLOW, task_id)


def _run(endpoint: _Endpoint) -> ResponseReturnValue:
    _record()
    caller, body, user = _read_call(endpoint)
    reader = PayloadReader(body, endpoint.payload_model, world().quirks)
    payload = reader.read(query_required=endpoint.query_required, in_conversation=endpoint.in_conversation)
    if not caller.app.published:
        raise invalid_param("Workflow not published")
    words = read_words(model_text(caller.app, payload.query, payload.inputs))
    refused = refusal(words)
    if isinstance(refused, DifyError):
        raise refused
    if refused is not None:
        return Response(refused, words.count("STATUS", 200), content_type="text/html; charset=utf-8")
    return _with_place(caller, user, payload, words)


def _with_place(caller: Caller, user: str, payload: RunPayload, words: SteeringWords) -> Response:
    """Run within the app's limit of concurrent runs; the place is given back with the response."""
    store = world().store
    if not store.enter(caller.app_key, caller.app.max_active_requests):
        raise _too_many(caller)
    try:
        response = _start(caller, user, payload, words)
    except BaseException:
        store.leave(caller.app_key)
        raise
    response.call_on_close(partial(store.leave, caller.app_key))
    return response


def _start(caller: Caller, user: str, payload: RunPayload, words: SteeringWords) -> Response:
    streaming = caller.app.mode == "agent" if payload.streaming is None else payload.streaming
    starter = TurnStarter(world(), caller, user, payload, request.path)
    if not streaming:
        refuse_blocking(caller)
        return _answer_blocking(starter, words)
    in_worker = caller.app.mode in GRAPH_MODES and world().quirks.worker_streams
    try:
        turn = starter.start(streaming=True)
    except DifyError as error:
        if not in_worker:
            raise
        workflow_id = stable_id(caller.app_key, "workflow")
        return _stream(refused_by_worker(world(), workflow_id, error.message), words)
    stream = starter.run(turn)
    response = _stream(
        counted(turn, logged(turn, through_worker(turn, stream)) if in_worker else stream), words
    )
    # A response that is closed before it began never enters its generators.
    response.call_on_close(partial(world().store.remove_task, turn.task))
    return response


def _stream(stream: Generator[Json, None, None], words: SteeringWords) -> Response:
    frames = write_frames(stream, words, world(), partial(cut_connection, request.environ))
    return Response(_closing(frames, stream), content_type=_EVENT_STREAM)


def _closing(frames: Iterator[bytes], stream: Generator[Json, None, None]) -> Iterator[bytes]:
    with closing(stream):
        yield from frames


def _answer_blocking(starter: TurnStarter, words: SteeringWords) -> Response:
    turn = starter.start(streaming=False)
    stream = counted(turn, starter.run(turn))
    if turn.quirks.blocking_chatflow_broken and turn.app.mode == "advanced-chat":
        turn.world.store.remove_task(turn.task)
        return Response(ping_and_silence(turn.world), content_type=_EVENT_STREAM)
    for _ in stream:
        pass
    body = json_response(build_blocking_body(turn), of_run=True)
    broken = break_body(body.get_data(), words, turn.world, partial(cut_connection, request.environ))
    return body if broken is None else Response(broken, content_type="application/json")


def _read_call(endpoint: _Endpoint) -> tuple[Caller, Json, str]:
    caller = require_app()
    body = read_body()
    user = read_user(body.get("user"))
    endpoint.check_mode(caller)
    return caller, body, user


def _stop(endpoint: _Endpoint, task_id: str) -> ResponseReturnValue:
    """Always a success; only some stops do something."""
    caller, _, user = _read_call(endpoint)
    store, quirks = world().store, world().quirks
    store.count("stops")
    task = store.find_task(task_id)
    if task is not None and task.app_key == caller.app_key:
        by_owner = task.user == user
        if by_owner or (caller.app.mode == "workflow" and quirks.stop_of_others_aborts_graph):
            task.stopped.set()
        elif caller.app.mode == "advanced-chat" and quirks.stop_of_others_aborts_graph:
            task.aborted = True
    return json_response({"result": "success"})


def _too_many(caller: Caller) -> DifyError:
    where = f" for {stable_id(caller.app_key)}" if world().quirks.pydantic_errors else ""
    limit = caller.app.max_active_requests
    allowed = f"The current maximum concurrent requests allowed{where} is {limit}."
    return invalid_param(f"Too many requests. Please try again later. {allowed}")


def _record() -> None:
    key = (request.headers.get("Authorization") or "").partition(" ")[2]
    headers = {name: value for name, value in request.headers.items() if name != "Authorization"}
    body = request.get_json(silent=True) if request.is_json else None
    world().store.record_request(ReceivedRequest(request.path, key, headers, body))
