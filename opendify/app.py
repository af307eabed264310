"""The composition root: settings in, a Flask app out; opens nothing."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import flask
from flask.typing import ResponseReturnValue
from werkzeug.routing import MapAdapter

from opendify.access.keys import ensure_secret
from opendify.access.opening import ACCESS, Access, open_access
from opendify.access.tokens import read_user_token
from opendify.attachments.desk import FileDesk
from opendify.audio.speech import Speaker
from opendify.audio.transcription import Transcriber
from opendify.conversation_admin.administration import (
    ConversationAdmin,
    open_configured_answers,
    open_configured_store,
)
from opendify.conversations.identity import CHAT_HEADERS, USER_HEADERS, IdentityRules
from opendify.dify.client import DifyClient
from opendify.dify.concurrency import CONCURRENCY, Concurrency
from opendify.dify.discovery import Discovery
from opendify.dify.http_clients import TransportFactory
from opendify.extras.conversations import ConversationExtras
from opendify.extras.rejoining import Rejoiner, RejoiningTools
from opendify.extras.workflow_runs import WorkflowRuns
from opendify.files.keeper import FileKeeper
from opendify.files.links import FileLinkSigner
from opendify.files.opening import open_configured_files
from opendify.files.outgoing import FilesOut, PublisherFor, as_dify_publishes
from opendify.gateway import Gateway
from opendify.owners import Owners
from opendify.records import Clock
from opendify.responses.answering import Responses
from opendify.responses.keeping import KeptResponses
from opendify.responses.shelf import Shelf
from opendify.routes.admin import admin_blueprint
from opendify.routes.answers import Failures
from opendify.routes.asking import Asking
from opendify.routes.audio import audio_blueprint
from opendify.routes.completions import Completions
from opendify.routes.cors import CorsHeaders, answer_preflights
from opendify.routes.dify import dify_blueprint
from opendify.routes.express import Express
from opendify.routes.files import files_blueprint
from opendify.routes.metrics import metrics_blueprint
from opendify.routes.openapi import openapi_blueprint
from opendify.routes.ops import ops_blueprint
from opendify.routes.paths import CanonicalPaths
from opendify.routes.people import People
from opendify.routes.ready import ReadyAnswer
from opendify.routes.responses import ResponseViews, responses_blueprint
from opendify.routes.security_headers import add_security_headers
from opendify.routes.v1 import v1_blueprint
from opendify.runs.calls import Calls, CallTools
from opendify.runs.drain import Drain
from opendify.serving.closing import close_where_asked
from opendify.serving.heads import Heads
from opendify.serving.housekeeping import CLIENT, FILES
from opendify.serving.leaving import DRAIN
from opendify.serving.slots import SLOTS, Slots
from opendify.settings import Settings
from opendify.settings.files import SECONDS_PER_DAY
from opendify.stores.answers import AnswerStore
from opendify.stores.base import ConversationStore
from opendify.stores.probe import StoreProbe
from opendify.telemetry.metrics import METRICS, METRICS_EXTENSION
from opendify.telemetry.observation import NO_MODEL
from opendify.telemetry.requests import ObservedRequests, observation
from opendify.telemetry.tracing import Tracing


def create_app(
    settings: Settings,
    *,
    transport: TransportFactory | None = None,
    store: ConversationStore | None = None,
    clock: Clock = time.monotonic,
    now: Clock = time.time,
    sleep: Callable[[float], None] = time.sleep,
) -> flask.Flask:
    """The service as a WSGI app.

    Connections are made by each process on first use, since the app is loaded once
    and then forked.

    Args:
        transport: Makes the transport to Dify, in place of httpx's own.
        store: Remembers conversations, in place of the one that the settings name.
        clock: Monotonic seconds, for limits.
        now: Unix time, for `created` and the store.

    Raises:
        SettingsError: The settings name no usable store.
    """
    parts = _open_parts(settings, transport, store, _Clocks(clock, now, sleep))
    gateway = _make_gateway(parts)
    slots = Slots(queue_length=settings.queue_length, queue_seconds=settings.queue_seconds, clock=clock)
    people = People(parts.access, _identity_rules(settings), slots)
    views = _make_views(parts, gateway, Asking(people, settings.max_request_bytes))
    app = _make_bare_app(settings)
    _register_routes(app, parts, gateway, people, views)
    _show_to_server(app, parts, gateway, slots)
    _wrap(app, parts, views)
    return app


@dataclass(frozen=True)
class _Clocks:
    """See `create_app`."""

    clock: Clock
    now: Clock
    sleep: Callable[[float], None]


@dataclass(frozen=True, kw_only=True)
class _Parts:
    """What several rooms share."""

    settings: Settings
    clocks: _Clocks
    access: Access
    client: DifyClient
    store: ConversationStore
    answers: AnswerStore | None
    files: FileKeeper
    signer: FileLinkSigner
    drain: Drain
    concurrency: Concurrency
    discovery: Discovery


def _open_parts(
    settings: Settings, transport: TransportFactory | None, store: ConversationStore | None, clocks: _Clocks
) -> _Parts:
    clock, now = clocks.clock, clocks.now
    client = DifyClient(settings, transport=transport, clock=clock, sleep=clocks.sleep)
    return _Parts(
        settings=settings,
        clocks=clocks,
        access=open_access(settings, client=client, clock=clock, now=now),
        client=client,
        store=store or open_configured_store(settings),
        answers=open_configured_answers(settings),
        files=FileKeeper(open_configured_files(settings), settings.files, now=now),
        signer=_link_signer(settings, now),
        drain=Drain(clock=clock),
        concurrency=Concurrency(settings, clock=clock),
        discovery=Discovery(client, ttl_seconds=settings.app_profile_ttl_seconds, clock=clock),
    )


def _make_gateway(parts: _Parts) -> Gateway:
    settings, client, answers, clocks = parts.settings, parts.client, parts.answers, parts.clocks
    return Gateway(
        settings,
        client,
        parts.store,
        answers=answers,
        files=FileDesk(client, settings.attachments, keeper=parts.files, answers=answers, now=clocks.now),
        drain=parts.drain,
        concurrency=parts.concurrency,
        discovery=parts.discovery,
        publisher_for=_publisher_for(parts),
        clock=clocks.clock,
        now=clocks.now,
        sleep=clocks.sleep,
    )


@dataclass(frozen=True)
class _Views:
    """Those of runs, which `Express` serves."""

    completions: Completions
    responses: ResponseViews


def _make_views(parts: _Parts, gateway: Gateway, asking: Asking) -> _Views:
    settings, now = parts.settings, parts.clocks.now
    ttl_seconds = settings.responses.ttl_days * SECONDS_PER_DAY
    kept = KeptResponses(parts.answers, ttl_seconds=ttl_seconds, now=now)
    responses = Responses(gateway, kept, user_prefix=settings.dify_user_prefix, now=now)
    return _Views(Completions(gateway, asking), ResponseViews(responses, Shelf(kept), asking))


def _make_bare_app(settings: Settings) -> flask.Flask:
    """Without routes."""
    app = _App("opendify", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = settings.max_request_bytes
    app.url_map.merge_slashes = False
    answer_preflights(app)
    app.after_request(_note_route)
    return app


def _note_route(response: flask.Response) -> flask.Response:
    # The rule, since a path may name a person.
    rule = flask.request.url_rule
    observation().route = rule.rule if rule else NO_MODEL
    return response


def _show_to_server(app: flask.Flask, parts: _Parts, gateway: Gateway, slots: Slots) -> None:
    """What the server looks for: it limits the slots, which knows how many requests a process can serve."""
    app.extensions |= {
        "opendify": gateway,
        DRAIN: parts.drain,
        ACCESS: parts.access,
        CONCURRENCY: parts.concurrency,
        SLOTS: slots,
        FILES: parts.files,
        CLIENT: parts.client,
    }
    if parts.settings.metrics.enabled:
        METRICS.open()
        app.extensions[METRICS_EXTENSION] = METRICS


def _wrap(app: flask.Flask, parts: _Parts, views: _Views) -> None:
    """Put around the app what sees every request: Flask's own way to do so."""
    settings, keys = parts.settings, parts.access.keys
    failures = Failures(keys, settings.max_request_bytes)
    app.register_error_handler(Exception, failures.answer)
    express_views = {**views.completions.views(), **views.responses.views()}
    express = Express(app.wsgi_app, express_views, failures.answer)
    paths = CanonicalPaths(express, settings.url_prefix)
    observed = ObservedRequests(paths, Tracing(settings.tracing) if settings.tracing.enabled else None)
    cors = CorsHeaders(settings, keys)
    app.wsgi_app = Heads(observed, cors, add_security_headers, close_where_asked)  # type: ignore[method-assign]


def _register_routes(
    app: flask.Flask, parts: _Parts, gateway: Gateway, people: People, views: _Views
) -> None:
    """What callers may ask for, and what is asked of the process itself."""
    settings, clocks, access = parts.settings, parts.clocks, parts.access
    owners = Owners(parts.store, gateway.find_app, settings.dify_user_prefix)
    calls = Calls(parts.client, parts.concurrency, parts.drain, clock=clocks.clock, sleep=clocks.sleep)
    tools = CallTools(owners, parts.discovery, calls)
    most_bytes = min(settings.audio.most_bytes, settings.max_request_bytes)
    transcriber = Transcriber(tools, most_bytes=most_bytes)
    app.register_blueprint(v1_blueprint(gateway, access.keys, people, views.completions))
    app.register_blueprint(responses_blueprint(views.responses))
    app.register_blueprint(files_blueprint(parts.files, people, parts.signer))
    rejoiner = Rejoiner(tools, _rejoining_tools(parts))
    app.register_blueprint(dify_blueprint(ConversationExtras(tools), WorkflowRuns(tools), rejoiner, people))
    app.register_blueprint(audio_blueprint(transcriber, Speaker(tools), people))
    app.register_blueprint(openapi_blueprint())
    app.register_blueprint(ops_blueprint(StoreProbe(parts.store, clock=clocks.clock), settings.drain_path))
    admin = ConversationAdmin(settings, parts.store, parts.client, answers=parts.answers, now=clocks.now)
    app.register_blueprint(admin_blueprint(admin, access))
    if settings.metrics.enabled:
        app.register_blueprint(metrics_blueprint(METRICS, settings, access.keys, admin, clocks.clock))


def _rejoining_tools(parts: _Parts) -> RejoiningTools:
    return RejoiningTools(
        settings=parts.settings,
        client=parts.client,
        drain=parts.drain,
        publisher_for=_publisher_for(parts),
        clock=parts.clocks.clock,
        now=parts.clocks.now,
    )


class _App(flask.Flask):
    def make_response(self, rv: ResponseReturnValue) -> flask.Response:
        """As in the base class; most views return what is ready."""
        return super().make_response(rv.as_response() if isinstance(rv, ReadyAnswer) else rv)

    def create_url_adapter(self, request: flask.Request | None) -> MapAdapter | None:
        """No route depends on the host, which Flask would read twice, check and encode."""
        if request is None:
            return super().create_url_adapter(None)
        return MapAdapter(self.url_map, "", "/", "", "http", request.path, request.method)

    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        """Nothing in here is a coroutine, which Flask would find out anew in each request."""
        return func


def _link_signer(settings: Settings, now: Clock) -> FileLinkSigner:
    file = settings.data_dir / "secret-key"
    return FileLinkSigner(
        settings.files.public_url,
        lambda: settings.files.secret_key or ensure_secret(file),
        ttl_seconds=settings.files.link_ttl_days * SECONDS_PER_DAY,
        now=now,
    )


def _publisher_for(parts: _Parts) -> PublisherFor:
    settings = parts.settings.files
    if not settings.proxy:
        return as_dify_publishes
    ttl_seconds = settings.link_ttl_days * SECONDS_PER_DAY
    clock = parts.clocks.clock
    return FilesOut(parts.files, parts.client, parts.signer, ttl_seconds=ttl_seconds, clock=clock).publisher


def _identity_rules(settings: Settings) -> IdentityRules:
    secret = settings.openwebui_jwt_secret
    return IdentityRules(
        user_headers=(*settings.user_id_headers, *USER_HEADERS),
        chat_headers=(*settings.chat_id_headers, *CHAT_HEADERS),
        read_token=(lambda token: read_user_token(token, secret)) if secret else None,
    )
