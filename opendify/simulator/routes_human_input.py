"""Forms that paused runs wait for, and what runs say to those who listen again; since 1.14.0."""

from __future__ import annotations

from collections.abc import Iterator

from flask import Blueprint, Response, request, stream_with_context
from flask.typing import ResponseReturnValue

from opendify.simulator.errors import DifyError, invalid_param, not_found
from opendify.simulator.json_text import PING, event_frame
from opendify.simulator.memory import PausedForm
from opendify.simulator.payload import read_user
from opendify.simulator.rejoining import listen_again
from opendify.simulator.serving_context import Json, json_response, read_body, require_app, world

blueprint = Blueprint("human_input", __name__, url_prefix="/v1")


@blueprint.before_request
def _refuse_before_1_14() -> None:
    if not world().quirks.pauses_when_blocking:
        raise not_found("Not Found", world().quirks, request.path)


@blueprint.post("/form/human_input/<token>")
def answer_form(token: str) -> ResponseReturnValue:
    caller = require_app()
    body = read_body()
    read_user(body.get("user"))
    form = world().store.find_form(app_key=caller.app_key, token=token)
    if form is None:
        raise not_found("Form not found", world().quirks, request.path)
    if form.chosen is not None:
        raise DifyError(412, "human_input_form_submitted", "This form has already been submitted")
    action, inputs = body.get("action"), body.get("inputs")
    if action not in form.action_ids or not isinstance(inputs, dict):
        raise DifyError(400, "invalid_form_data", "Invalid form data")
    form.chosen, form.inputs = str(action), inputs
    return json_response({})


@blueprint.get("/workflow/<run_id>/events")
def tell_rest(run_id: str) -> ResponseReturnValue:
    caller = require_app()
    user = request.args.get("user")
    if not user:
        raise invalid_param("Arg user must be provided.")
    form = world().store.find_form(app_key=caller.app_key, run_id=run_id)
    log = world().store.find_run_log(run_id, caller.app_key, user)
    if form is not None and form.user == user and form.chosen:
        events = _rest(form)
    elif log is not None:
        with_state = request.args.get("include_state_snapshot") == "true"
        events = listen_again(log, world(), with_state=with_state)
    else:
        raise not_found("Workflow run not found", world().quirks, request.path)
    return Response(stream_with_context(_frames(events)), content_type="text/event-stream; charset=utf-8")


def _frames(events: Iterator[Json]) -> Iterator[bytes]:
    compact = world().quirks.compact_events
    for event in events:
        yield PING if event["event"] == "ping" else event_frame(event, compact=compact)


def _rest(form: PausedForm) -> Iterator[Json]:
    """A run that ended meanwhile tells only its end."""
    yield {"event": "ping"}
    if form.told:
        yield from (event for event in form.told if event["event"] == "workflow_finished")
        return
    for event in form.go_on():
        form.told.append(event)
        yield event
