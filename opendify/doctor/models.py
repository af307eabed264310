"""Each model: is its server there, is its key right, what must a client send."""

import time
from collections.abc import Iterator
from dataclasses import replace

from opendify.dify.client import DifyClient
from opendify.dify.discovery import Discovery
from opendify.doctor.findings import Finding, advice, ok, problem
from opendify.errors import (
    DifyAuthError,
    DifyGatewayFailed,
    DifyTimeout,
    DifyUnreachable,
    GatewayError,
    InvalidInput,
    InvalidRequest,
)
from opendify.records import AppProfile
from opendify.settings import DifyApp, Settings
from opendify.translate.dify_inputs import merge_inputs
from opendify.translate.dify_request import RunText, build_request

_ASKED = RunText("Hello", {})
_STOCK_DIFY_CONNECTIONS = 10


def examine_models(settings: Settings, client: DifyClient) -> Iterator[Finding]:
    """What can be said of every model without running it."""
    discovery = Discovery(client, ttl_seconds=settings.app_profile_ttl_seconds, clock=time.monotonic)
    for app in settings.models:
        yield from _examine_model(app, discovery)
    if settings.models and not settings.dify_max_concurrency:
        unlimited = [app.name for app in settings.models if not app.max_concurrency]
        if unlimited:
            yield advice(
                "concurrency",
                f"runs at Dify are not limited for {_listed(unlimited)}",
                f"a stock Dify serves {_STOCK_DIFY_CONNECTIONS} requests at once and lets the others wait in "
                "silence: set DIFY_MAX_CONCURRENCY, or `max_concurrency` of a model, a little below what "
                "yours serves",
            )


def _examine_model(app: DifyApp, discovery: Discovery) -> Iterator[Finding]:
    subject = f"model {app.name}"
    try:
        # Without the configured mode Dify has to say what the app really is.
        profile = discovery.profile(replace(app, mode=None))
    except GatewayError as failure:
        yield problem(subject, _seen(failure), _remedy(app, failure))
        return
    if app.mode and app.mode != profile.mode:
        yield problem(
            subject,
            f"`mode` is {app.mode!r}, and Dify says {profile.mode!r}",
            "take `mode` out of the model table, or correct it",
        )
        return
    yield _examine_inputs(subject, app, profile)


def _examine_inputs(subject: str, app: DifyApp, profile: AppProfile) -> Finding:
    about = _about(profile)
    given = merge_inputs(app, profile, {})
    missing = [field.name for field in profile.form or () if field.required and field.name not in given]
    try:
        build_request(_ASKED, app, profile, user="opendify-check")
    except InvalidInput:
        return advice(
            subject,
            f"{about}; clients must send {_listed(missing)}",
            'set a default in the model table (`"inputs": {…}`), or let clients send `inputs`',
        )
    except InvalidRequest as refusal:
        return problem(subject, str(refusal), "set `query_input` for the model in the model table")
    return ok(subject, about)


def _about(profile: AppProfile) -> str:
    files = {True: "takes files", False: "takes no files", None: "files unknown"}[profile.takes_files]
    version = f"Dify {profile.version}" if profile.version else "a Dify that does not say its version"
    return f"{profile.mode} app {profile.name!r} on {version}, {files}"


def _seen(failure: GatewayError) -> str:
    match failure:
        case DifyAuthError():
            return "Dify refuses the app key"
        case DifyUnreachable():
            return "no connection to the server"
        case DifyGatewayFailed():
            return "a proxy in front of Dify answers, and Dify does not"
        case DifyTimeout():
            return "Dify did not answer in time"
        case _:
            return str(failure)


def _remedy(app: DifyApp, failure: GatewayError) -> str:
    match failure:
        case DifyAuthError():
            return "copy the key from the app's page in Dify: API Access, API Key (it begins with `app-`)"
        case DifyUnreachable():
            return (
                f"is {app.api_base} right, and reachable from here? `localhost` inside a container is the "
                "container itself; a name or certificate that is wrong also looks like this"
            )
        case DifyGatewayFailed():
            return "look whether Dify's `api` service runs"
        case DifyTimeout():
            return "Dify is overloaded, or something between drops what is sent"
        case _:
            return f"does {app.api_base} lead to Dify's API? It usually ends in `/v1`"


def _listed(names: list[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:5])
    return f"{shown} and {len(names) - 5} more" if len(names) > 5 else shown
