"""What an app says about itself: index, info, parameters, meta, site, and looking up a workflow run."""

from __future__ import annotations

from email.utils import formatdate

from flask import Blueprint, Response, abort
from flask.typing import ResponseReturnValue

from opendify.simulator.apps import GRAPH_MODES, DemoApp, FormField
from opendify.simulator.errors import HTML_NOT_FOUND, app_unavailable, wrong_mode
from opendify.simulator.serving_context import ROUTE_HEADERS, Json, json_response, require_app, world

blueprint = Blueprint("about", __name__, url_prefix="/v1")

_LIMITS: Json = {
    "image_file_size_limit": 10,
    "video_file_size_limit": 100,
    "audio_file_size_limit": 50,
    "file_size_limit": 15,
    "workflow_file_upload_limit": 10,
}
_IMAGE_EXTENSIONS = [".JPG", ".JPEG", ".PNG", ".GIF", ".WEBP", ".SVG"]
_METHODS = ["remote_url", "local_file"]
_RUN_KEYS = ("id", "workflow_id", "status", "inputs", "outputs", "error", "total_steps", "total_tokens")
_RUN_TIMES = ("created_at", "finished_at", "elapsed_time")


@blueprint.get("/")
def show_index() -> ResponseReturnValue:
    if not world().quirks.answers_index:
        # Unlike pages of unknown paths, this one has the headers of a route.
        return Response(HTML_NOT_FOUND, 404, content_type="text/html; charset=utf-8", headers=ROUTE_HEADERS)
    version = world().options.version
    return json_response({"welcome": "Dify OpenAPI", "api_version": "v1", "server_version": version})


@blueprint.get("/info")
def show_info() -> ResponseReturnValue:
    app, quirks = require_app().app, world().quirks
    fields: Json = {"name": app.name, "description": app.description, "tags": list(app.tags)}
    if quirks.info_names_mode:
        fields["mode"] = app.mode
    if quirks.info_names_author:
        fields["author_name"] = "admin"
    return json_response(fields)


@blueprint.get("/parameters")
def show_parameters() -> ResponseReturnValue:
    app = require_app().app
    if not app.published:
        raise app_unavailable()
    switches = {"enabled": False, "type": "", "configs": []}
    moderation: Json = {"enabled": False} if app.mode in GRAPH_MODES else dict(switches)
    if app.moderation:
        moderation |= {"enabled": True, "type": "keywords"}
    return json_response(
        {
            "opening_statement": None if app.mode == "completion" else app.opening_statement,
            "suggested_questions": list(app.suggested_questions),
            "suggested_questions_after_answer": {"enabled": app.suggests_after_answer},
            "speech_to_text": {"enabled": app.speech_to_text},
            "text_to_speech": {"enabled": app.text_to_speech, "voice": "", "language": ""},
            "retriever_resource": {"enabled": True},
            "annotation_reply": {"enabled": False},
            "more_like_this": {"enabled": False},
            "user_input_form": [{field.kind: _form_entry(app, field)} for field in app.form],
            "sensitive_word_avoidance": moderation,
            "file_upload": _file_upload(app),
            "system_parameters": _LIMITS,
        }
    )


@blueprint.get("/meta")
def show_meta() -> ResponseReturnValue:
    icon = f"{world().options.files_url}/console/api/workspaces/current/tool-provider/builtin/time/icon"
    return json_response({"tool_icons": dict.fromkeys(require_app().app.tools, icon)})


@blueprint.get("/site")
def show_site() -> ResponseReturnValue:
    if not world().quirks.serves_site:
        abort(404)
    app = require_app().app
    site: Json = {
        "title": app.name,
        "chat_color_theme": None,
        "chat_color_theme_inverted": False,
        "icon_type": "emoji",
        "icon": "\U0001f916",
        "icon_background": "#FFEAD5",
        "icon_url": None,
        "description": None,
        "copyright": None,
        "privacy_policy": None,
        "custom_disclaimer": "",
        "default_language": "en-US",
        "show_workflow_steps": True,
        "use_icon_as_answer_icon": False,
    }
    return json_response(site)


@blueprint.get("/workflows/run/<run_id>")
def show_workflow_run(run_id: str) -> ResponseReturnValue:
    """An unknown run is a row of nulls, not a 404."""
    caller = require_app()
    if caller.app.mode not in GRAPH_MODES:
        raise wrong_mode("not_workflow_app")
    row = world().store.workflow_runs.get(run_id)
    if row is None:
        return json_response(_unknown_run())
    times = {name: _write_time(row[name]) for name in ("created_at", "finished_at")}
    return json_response(row | times)


def _unknown_run() -> Json:
    row: Json = dict.fromkeys((*_RUN_KEYS, *_RUN_TIMES))
    return row if world().quirks.new_graph_engine else row | {"total_steps": 0, "total_tokens": 0}


def _write_time(seconds: object) -> object:
    if not isinstance(seconds, float | int):
        return None
    return int(seconds) if world().quirks.new_graph_engine else formatdate(seconds)


def _form_entry(app: DemoApp, field: FormField) -> Json:
    label = field.variable.capitalize()
    entry: Json = {"variable": field.variable, "label": label, "required": field.required}
    if app.mode in GRAPH_MODES:
        entry |= {"type": field.kind, "max_length": field.max_length, "options": list(field.choices)}
        return entry | (_file_rules(field) if field.kind.startswith("file") else {})
    if field.max_length is not None:
        entry["max_length"] = field.max_length
    if field.choices:
        entry["options"] = list(field.choices)
    return entry | {"default": field.default}


def _file_rules(field: FormField) -> Json:
    return {
        "allowed_file_types": list(field.file_types),
        "allowed_file_extensions": [],
        "allowed_file_upload_methods": ["local_file", "remote_url"],
    }


def _file_upload(app: DemoApp) -> Json:
    enabled = bool(app.file_types)
    modern: Json = {
        "enabled": enabled,
        "allowed_file_types": list(app.file_types),
        "allowed_file_extensions": [] if app.mode in GRAPH_MODES else _IMAGE_EXTENSIONS,
        "allowed_file_upload_methods": _METHODS,
        "number_limits": app.max_files,
    }
    if app.mode in GRAPH_MODES and enabled:
        return modern
    image: Json = {
        "enabled": enabled,
        "number_limits": app.max_files,
        "detail": "high",
        "transfer_methods": _METHODS,
    }
    return {"image": image} | (modern if enabled else {})
