"""Variables of the process and of `.env` → settings that agree with each other."""

import dataclasses
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from dotenv import dotenv_values

from opendify.configuration import readers as read
from opendify.configuration.cpus import default_workers, effective_cpus
from opendify.configuration.fields import read_fields
from opendify.configuration.model_variables import read_model_table, read_passed_app
from opendify.configuration.readers import PROJECT_FOLDER, SettingsError
from opendify.settings.server import ServerSettings
from opendify.settings.service import Settings
from opendify.settings.tracing import standard_variables

_Built = TypeVar("_Built")


def load_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """Read and check the settings; nothing is contacted, and only files that settings name are read.

    Raises:
        SettingsError: With one line for each fault.
    """
    environ = _environment() if environ is None else environ
    faults: list[str] = []
    values = read_fields(Settings, environ, faults)
    passes_keys = values.get("auth_mode") == "passthrough"
    try:
        values["models"] = read_model_table(environ, may_be_missing=passes_keys)
        if passes_keys:
            values["passed_app"] = read_passed_app(environ)
    except SettingsError as error:
        faults += error.faults
    if faults:
        raise SettingsError(*faults)
    settings = _build(Settings, values)
    if settings.tracing.enabled:
        tracing = dataclasses.replace(settings.tracing, standard=standard_variables(environ))
        settings = dataclasses.replace(settings, tracing=tracing)
    if settings.files.proxy and not settings.files.public_url:
        raise SettingsError(
            "FILES_PROXY needs PUBLIC_URL, the address under which clients reach this service"
        )
    if settings.passed_app and settings.find_model(settings.passed_app.name):
        raise SettingsError(
            f"AUTH_MODE: with passthrough no model of the table may be called {settings.passed_app.name!r}"
        )
    if faults := _misordered_times(settings):
        raise SettingsError(*faults)
    return settings


def load_server_settings(
    environ: Mapping[str, str] | None = None, *, cpus: Callable[[], float] = effective_cpus
) -> ServerSettings:
    """Read and check what the server needs.

    Raises:
        SettingsError: With one line for each fault.
    """
    environ = _environment() if environ is None else environ
    faults: list[str] = []
    values = read_fields(ServerSettings, environ, faults)
    if faults:
        raise SettingsError(*faults)
    settings = _with_derived_defaults(_build(ServerSettings, values), values, cpus)
    graceful = settings.graceful_timeout_seconds
    if settings.drain_seconds >= graceful:
        raise SettingsError(
            f"DRAIN_SECONDS ({settings.drain_seconds:g}) must be less than "
            f"GUNICORN_GRACEFUL_TIMEOUT ({graceful})"
        )
    return settings


def load_environment(dotenv_file: Path, environ: Mapping[str, str]) -> dict[str, str]:
    """The variables of the process over those of the `.env` file, which need not exist.

    Raises:
        SettingsError: The file cannot be read.
    """
    in_file = read_dotenv(dotenv_file)
    return {name: text for name, text in in_file.items() if text is not None} | dict(environ)


def read_dotenv(file: Path) -> Mapping[str, str | None]:
    """What stands in it, nothing where it does not exist; a name without `=` has None.

    Raises:
        SettingsError: It cannot be read.
    """
    try:
        # Without interpolation a `$` in a key is a `$`.
        return dotenv_values(file, interpolate=False, encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError):
        raise SettingsError(".env cannot be read; it must be UTF-8 text that this user may read") from None


def names_given() -> tuple[Mapping[str, str | None], Mapping[str, str]]:
    """What stands in the project's `.env`, and the variables of the process.

    Raises:
        SettingsError: The file cannot be read.
    """
    return read_dotenv(PROJECT_FOLDER / ".env"), os.environ


def models_are_configured() -> bool:
    """Whether a model table is named anywhere, right or wrong.

    Raises:
        SettingsError: `.env` cannot be read.
    """
    return any(given.get(name) for given in names_given() for name in ("MODEL_CONFIG", "MODEL_CONFIG_FILE"))


def set_missing(variables: Mapping[str, str]) -> None:
    """Give this process, and whatever it becomes, the variables that it does not have."""
    for name, text in variables.items():
        os.environ.setdefault(name, text)


def _with_derived_defaults(
    settings: ServerSettings, values: Mapping[str, object], cpus: Callable[[], float]
) -> ServerSettings:
    """What is not set and follows from what is, or from the machine."""
    graceful = settings.graceful_timeout_seconds
    derived: dict[str, Any] = {
        # With less, workers that started together are replaced together.
        "max_requests_jitter": settings.max_requests // 5,
        "drain_seconds": max(graceful - 10, graceful * 0.75),
    }
    if settings.environment == "production":
        derived["workers"] = default_workers(cpus())
    missing = {name: value for name, value in derived.items() if name not in values}
    return dataclasses.replace(settings, **missing)


def gunicorn_script_name() -> str:
    """Where Gunicorn's own `SCRIPT_NAME` mounts the app; `URL_PREFIX` does more."""
    return os.environ.get("SCRIPT_NAME", "")


def set_variables(texts: Mapping[str, str]) -> None:
    """Put them where libraries look for their settings: those of `.env` are in no process by themselves."""
    os.environ.update(texts)


def _environment() -> dict[str, str]:
    return load_environment(PROJECT_FOLDER / ".env", os.environ)


def _misordered_times(settings: Settings) -> list[str]:
    connect = ("DIFY_CONNECT_TIMEOUT", settings.dify_connect_timeout_seconds)
    idle = ("DIFY_IDLE_TIMEOUT", settings.dify_idle_timeout_seconds)
    first_event = ("DIFY_FIRST_EVENT_TIMEOUT", settings.dify_first_event_timeout_seconds)
    total = ("DIFY_TOTAL_TIMEOUT", settings.dify_total_timeout_seconds)
    commit = ("STREAM_COMMIT_SECONDS", settings.stream_commit_seconds)
    keepalive = ("KEEPALIVE_SECONDS", settings.keepalive_seconds)
    faults = [
        f"{shorter[0]} ({shorter[1]:g}) must be less than {longer[0]} ({longer[1]:g})"
        for shorter, longer in ((connect, idle), (keepalive, idle), (commit, first_event))
        if shorter[1] >= longer[1]
    ]
    faults += [
        f"{shorter[0]} ({shorter[1]:g}) must be at most {longer[0]} ({longer[1]:g})"
        for shorter, longer in ((idle, first_event), (first_event, total))
        if shorter[1] > longer[1]
    ]
    faults += [
        f"model {read.shown(model.name)}: `timeout_seconds` ({model.timeout_seconds:g}) must be at most "
        f"{total[0]} ({total[1]:g})"
        for model in settings.models
        if model.timeout_seconds is not None and model.timeout_seconds > total[1]
    ]
    return faults


def _build(kind: Callable[..., _Built], values: Mapping[str, object]) -> _Built:
    return kind(**values)
