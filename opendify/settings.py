"""What an operator can set, read from the environment and the project's `.env` file.

Adding a setting is one field here with a description, and its line in `.env.example`.
"""

import dataclasses
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Literal, TypeVar, get_args

from dotenv import dotenv_values

from opendify.configuration import readers as read
from opendify.configuration.cpus import default_workers, effective_cpus
from opendify.configuration.fields import (
    SettingDoc,
    documented,
    read_fields,
    setting,
    setting_without_default,
)
from opendify.configuration.model_table import (
    AppMode,
    DifyApp,
    IntoInput,
    Placement,
    Reasoning,
)
from opendify.configuration.model_variables import MODEL_SETTINGS, read_model_table
from opendify.configuration.readers import PROJECT_FOLDER, ApiKey, SettingsError
from opendify.configuration.replay_templates import read_replay_templates

# ruff: noqa: RUF009 - `setting` makes a field, with an immutable default.

__all__ = [
    "DIFY_TRANSPORTS",
    "PROJECT_FOLDER",
    "SETTINGS",
    "ApiKey",
    "AppMode",
    "AuthMode",
    "DifyApp",
    "DifyTransport",
    "Environment",
    "IntoInput",
    "LogLevel",
    "Placement",
    "Reasoning",
    "ServerSettings",
    "SettingDoc",
    "Settings",
    "SettingsError",
    "default_workers",
    "effective_cpus",
    "load_environment",
    "load_server_settings",
    "load_settings",
]

Environment = Literal["production", "development"]
AuthMode = Literal["keys", "open"]
DifyTransport = Literal["sockets", "httpx"]
LogLevel = Literal["debug", "info", "warning", "error", "critical"]
WorkerClass = Literal["sync", "gthread", "gevent"]

ENVIRONMENTS: Final[tuple[Environment, ...]] = get_args(Environment)
AUTH_MODES: Final[tuple[AuthMode, ...]] = get_args(AuthMode)
DIFY_TRANSPORTS: Final[tuple[DifyTransport, ...]] = get_args(DifyTransport)
LOG_LEVELS: Final[tuple[LogLevel, ...]] = get_args(LogLevel)
WORKER_CLASSES: Final[tuple[WorkerClass, ...]] = get_args(WorkerClass)

_Built = TypeVar("_Built")


@dataclass(frozen=True, kw_only=True)
class _CommonSettings:
    environment: Environment = setting(
        "ENVIRONMENT",
        read.one_of(ENVIRONMENTS),
        "production",
        "`production` or `development`; decides the defaults of `SERVER_HOST`, `GUNICORN_WORKERS` and "
        "`GUNICORN_RELOAD`.",
    )
    log_level: LogLevel = setting(
        "LOG_LEVEL",
        read.one_of(LOG_LEVELS),
        "info",
        "The least severe messages to log: `debug`, `info`, `warning`, `error` or `critical`.",
    )
    max_request_bytes: int = setting(
        "MAX_REQUEST_BYTES",
        read.whole_number(1_024, 10 * 1024**3),
        str(50 * 1024**2),
        "The largest request body in bytes.",
    )


@dataclass(frozen=True, kw_only=True)
class Settings(_CommonSettings):
    """What the application needs to know. `models` are in table order."""

    models: tuple[DifyApp, ...]
    data_dir: Path = setting(
        "DATA_DIR",
        read.path,
        "data",
        "The folder for all local state; a relative path starts at the project's folder.",
    )
    drain_file: Path | None = setting_without_default(
        "DRAIN_FILE",
        read.path,
        None,
        "While this file exists, `/health/ready` is 503, so that a load balancer sends nobody here; a "
        "relative path starts at the project's folder. Unset: `drain` in `DATA_DIR`.",
    )
    auth_mode: AuthMode = setting(
        "AUTH_MODE",
        read.one_of(AUTH_MODES),
        "keys",
        "`keys` asks clients for a key of `API_KEYS`; `open` accepts any key, and none.",
    )
    api_keys: tuple[ApiKey, ...] = setting_without_default(
        "API_KEYS",
        read.api_keys,
        (),
        "The keys of clients: a comma list of `name:key` or `key`.",
        is_secret=True,
    )
    admin_api_key: str | None = setting_without_default(
        "ADMIN_API_KEY", read.token, None, "The key that opens the admin routes.", is_secret=True
    )
    dify_transport: DifyTransport = setting(
        "DIFY_TRANSPORT",
        read.one_of(DIFY_TRANSPORTS),
        "sockets",
        "How runs travel to Dify: `sockets`, the fast way, or `httpx`, its own transport. Through a proxy of "
        "the environment it is always `httpx`.",
    )
    dify_connect_timeout_seconds: float = setting(
        "DIFY_CONNECT_TIMEOUT", read.seconds(0.1, 300), "5", "Seconds that connecting to Dify may take."
    )
    dify_connect_retries: int = setting(
        "DIFY_CONNECT_RETRIES",
        read.whole_number(0, 10),
        "2",
        "How often a connection that could not be made is tried again, within `DIFY_CONNECT_TIMEOUT`; while "
        "Dify is away only a fifth of the requests in progress try, or three.",
    )
    dify_circuit_failures: int = setting(
        "DIFY_CIRCUIT_FAILURES",
        read.whole_number(0, 10_000),
        "5",
        "So many failures in a row to reach a Dify server (no connection, or a proxy's 502, 503 or 504), "
        "and it is left alone for a while; 0 is never.",
    )
    dify_circuit_seconds: float = setting(
        "DIFY_CIRCUIT_SECONDS",
        read.seconds(0.1, 60),
        "5",
        "Seconds for which it is left alone: requests are refused at once, until a short call finds it back.",
    )
    dify_first_event_timeout_seconds: float = setting(
        "DIFY_FIRST_EVENT_TIMEOUT",
        read.seconds(1, 86_400),
        "300",
        "Seconds until Dify's first real event; a queued run waits that long.",
    )
    dify_idle_timeout_seconds: float = setting(
        "DIFY_IDLE_TIMEOUT",
        read.seconds(1, 86_400),
        "90",
        "Seconds that Dify may be silent, without even a ping.",
    )
    dify_total_timeout_seconds: float = setting(
        "DIFY_TOTAL_TIMEOUT", read.seconds(1, 86_400), "1800", "Seconds that a whole answer may take."
    )
    stream_commit_seconds: float = setting(
        "STREAM_COMMIT_SECONDS",
        read.seconds(0, 300),
        "5",
        "Seconds that a stream's status waits for Dify, so that an early failure is an HTTP status.",
    )
    keepalive_seconds: float = setting(
        "KEEPALIVE_SECONDS",
        read.seconds(1, 300),
        "10",
        "Seconds of silence after which a stream gets a comment line, so that no proxy cuts it.",
    )
    dify_max_concurrency: int = setting(
        "DIFY_MAX_CONCURRENCY",
        read.whole_number(0, 10_000),
        "0",
        "Runs that each Dify server gets at once, from all workers of an instance together; 0 is no limit.",
    )
    queue_seconds: float = setting(
        "QUEUE_SECONDS",
        read.seconds(0, 300),
        "5",
        "Seconds that a request waits for a place, in its worker or at Dify, before it is answered 429; 0 is "
        "not at all.",
    )
    queue_length: int = setting(
        "QUEUE_LENGTH",
        read.whole_number(0, 10_000),
        "16",
        "Requests that may wait so, in each worker for each model; all others are answered 429 at once.",
    )
    dify_user_prefix: str = setting_without_default(
        "DIFY_USER_PREFIX", read.short_text, "", "Put in front of every user name that Dify gets to see."
    )
    replay_max_chars: int = setting(
        "REPLAY_MAX_CHARS",
        read.whole_number(0, 10_000_000),
        "24000",
        "Characters of earlier turns that a new Dify conversation is told.",
    )
    cors_origins: tuple[str, ...] | None = setting_without_default(
        "CORS_ORIGINS",
        read.origins,
        None,
        "Web pages that may call: a comma list of origins, `*`, or `off`. Unset: any origin where keys are "
        "asked for, none in open mode.",
    )
    allowed_hosts: tuple[str, ...] = setting_without_default(
        "ALLOWED_HOSTS",
        read.host_names,
        (),
        "Further `Host` names that open mode accepts when bound to loopback: a comma list.",
    )
    url_prefix: str = setting_without_default(
        "URL_PREFIX",
        read.url_prefix,
        "",
        "The path below which everything is served, probes too, such as `/opendify`.",
    )
    conversation_store_url: str = setting(
        "CONVERSATION_STORE_URL",
        read.store_url,
        "sqlite:///data/conversations.db",
        "Where conversations are remembered: `sqlite:///data/NAME.db` (in `DATA_DIR`), `redis://…` (also "
        "`rediss://`, `redis+sentinel://`, `redis+cluster://`) or `postgresql://…`.",
    )
    conversation_ttl_days: float = setting(
        "CONVERSATION_TTL_DAYS",
        read.days(0.01, 36_500),
        "30",
        "Days after which an unused conversation is forgotten here; Dify keeps it.",
    )
    conversation_max: int = setting(
        "CONVERSATION_MAX",
        read.whole_number(1, 1_000_000_000),
        "1000000",
        "So many conversations are remembered; beyond that the oldest are forgotten.",
    )
    answer_store: str = setting(
        "ANSWER_STORE",
        read.answer_store,
        "auto",
        "Where answers are kept for repeats of their requests: `auto` is beside the conversations (SQLite: "
        "`answers.db` in `DATA_DIR`), `off` is nowhere, so that a repeat runs again; or a URL as above.",
    )
    idempotency_key_ttl_seconds: float = setting(
        "IDEMPOTENCY_KEY_TTL_SECONDS",
        read.seconds(1, 86_400),
        "900",
        "Seconds that a finished answer is kept under its request's `Idempotency-Key`.",
    )
    repeat_window_seconds: float = setting(
        "REPEAT_WINDOW_SECONDS",
        read.seconds(1, 3_600),
        "60",
        "Seconds that failures, and answers to SDKs that retry by themselves, are kept.",
    )
    answer_store_max_bytes: int = setting(
        "ANSWER_STORE_MAX_BYTES",
        read.whole_number(0, 1024**4),
        str(256 * 1024**2),
        "Bytes of answers that are kept; beyond that of the oldest only that they were given.",
    )
    dify_message_time_resolution_seconds: float = setting(
        "DIFY_MESSAGE_TIME_RESOLUTION",
        read.seconds(0, 60),
        "1",
        "Seconds that two turns of one conversation stand apart, because Dify orders its memory by them.",
    )
    user_id_headers: tuple[str, ...] = setting_without_default(
        "USER_ID_HEADERS",
        read.header_names,
        (),
        "Further headers that name the person, before the known ones: a comma list.",
    )
    chat_id_headers: tuple[str, ...] = setting_without_default(
        "CHAT_ID_HEADERS",
        read.header_names,
        (),
        "Further headers that name the chat, before the known ones: a comma list.",
    )
    openwebui_jwt_secret: str | None = setting_without_default(
        "OPENWEBUI_JWT_SECRET",
        read.secret_text,
        None,
        "Open WebUI's `FORWARD_USER_INFO_HEADER_JWT_SECRET`; with it only its signed user header counts.",
        is_secret=True,
    )
    replay_templates: Mapping[str, str] | None = setting_without_default(
        "REPLAY_TEMPLATE_FILE",
        read_replay_templates,
        None,
        "A JSON, YAML or TOML file with the wording of replayed texts: `system`, `history` and `query`, each "
        "with `{text}`, and the names of the speakers.",
    )
    auto_generate_name: bool = setting(
        "AUTO_GENERATE_NAME",
        read.flag,
        "false",
        "Whether Dify names each new conversation, which costs a model call and about a second.",
    )
    app_profile_ttl_seconds: float = setting(
        "APP_PROFILE_TTL_SECONDS",
        read.seconds(1, 86_400),
        "600",
        "Seconds after which an app's mode and input form are asked of Dify again.",
    )
    server_host: str = setting(
        "SERVER_HOST",
        read.host,
        "0.0.0.0",  # noqa: S104 - Containers need it; development binds to loopback.
        "The address to listen on.",
        development_default="127.0.0.1",
    )

    @property
    def drain_path(self) -> Path:
        """The file that asks for no more traffic."""
        return self.drain_file or self.data_dir / "drain"

    def find_model(self, name: str) -> DifyApp | None:
        """The model with this name or alias."""
        return self._models_by_name.get(name)

    @cached_property
    def _models_by_name(self) -> Mapping[str, DifyApp]:
        return {name: model for model in self.models for name in (model.name, *model.aliases)}


@dataclass(frozen=True, kw_only=True)
class ServerSettings(_CommonSettings):
    """What Gunicorn needs to know."""

    host: str = setting(
        "SERVER_HOST",
        read.host,
        "0.0.0.0",  # noqa: S104 - As above.
        "The address to listen on.",
        development_default="127.0.0.1",
    )
    port: int = setting(
        "SERVER_PORT", read.whole_number(1, 65_535), "5000", "The port to listen on.", alias="PORT"
    )
    workers: int = setting_without_default(
        "GUNICORN_WORKERS",
        read.whole_number(1, 1_024),
        1,
        "Worker processes. Unset: usable CPUs x 2 + 1; in development 1.",
        alias="WEB_CONCURRENCY",
    )
    worker_class: WorkerClass = setting(
        "GUNICORN_WORKER_CLASS",
        read.one_of(WORKER_CLASSES),
        "sync",
        "`sync`, `gthread` or `gevent`; `sync` with more than one thread is served by threads.",
    )
    threads: int = setting(
        "GUNICORN_THREADS",
        read.whole_number(1, 4_096),
        "128",
        "Threads in each worker; each holds one stream. 1 serves one request at a time, and probes wait too.",
    )
    timeout_seconds: int = setting(
        "GUNICORN_TIMEOUT",
        read.whole_number(1, 86_400),
        "60",
        "Seconds after which a worker that hangs is replaced; streams may last longer.",
    )
    graceful_timeout_seconds: int = setting(
        "GUNICORN_GRACEFUL_TIMEOUT",
        read.whole_number(1, 86_400),
        "120",
        "Seconds that a worker gets to end at a restart; then it is cut off.",
    )
    drain_seconds: float = setting_without_default(
        "DRAIN_SECONDS",
        read.seconds(0, 86_400),
        110.0,
        "Seconds that answers which still run get to finish at a restart; then they end with an error. "
        "Unset: 10 less than `GUNICORN_GRACEFUL_TIMEOUT`, or three quarters of it.",
    )
    keepalive_seconds: int = setting(
        "GUNICORN_KEEPALIVE",
        read.whole_number(0, 86_400),
        "75",
        "Seconds that an idle connection stays open for the client's next request.",
    )
    request_head_timeout_seconds: float = setting(
        "REQUEST_HEAD_TIMEOUT",
        read.seconds(1, 3_600),
        "10",
        "Seconds in which a client must have sent its request's line and headers.",
    )
    request_body_timeout_seconds: float = setting(
        "REQUEST_BODY_TIMEOUT",
        read.seconds(1, 86_400),
        "60",
        "Seconds in which a client must then have sent its request's body.",
    )
    client_write_timeout_seconds: float = setting(
        "CLIENT_WRITE_TIMEOUT",
        read.seconds(1, 86_400),
        "30",
        "Seconds after which a client that reads nothing of its answer is given up, and its run stopped.",
    )
    max_requests: int = setting(
        "GUNICORN_MAX_REQUESTS",
        read.whole_number(0, 1_000_000_000),
        "0",
        "Requests after which a worker is replaced; 0 is never.",
    )
    max_requests_jitter: int = setting_without_default(
        "GUNICORN_MAX_REQUESTS_JITTER",
        read.whole_number(0, 1_000_000_000),
        0,
        "The most by which `GUNICORN_MAX_REQUESTS` differs between workers. Unset: a fifth of it.",
    )
    reload: bool = setting(
        "GUNICORN_RELOAD",
        read.flag,
        "false",
        "Whether workers restart when the code changes.",
        development_default="true",
    )


def load_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """Read and check the settings; nothing is contacted, and only files that settings name are read.

    Raises:
        SettingsError: With one line for each fault.
    """
    environ = _environment() if environ is None else environ
    faults: list[str] = []
    values = read_fields(Settings, environ, faults)
    try:
        values["models"] = read_model_table(environ)
    except SettingsError as error:
        faults += error.faults
    if faults:
        raise SettingsError(*faults)
    settings = _build(Settings, values)
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
    try:
        # Without interpolation a `$` in a key is a `$`.
        in_file = dotenv_values(dotenv_file, interpolate=False, encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError):
        raise SettingsError(".env cannot be read; it must be UTF-8 text that this user may read") from None
    return {name: text for name, text in in_file.items() if text is not None} | dict(environ)


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


SETTINGS: Final[tuple[SettingDoc, ...]] = (*MODEL_SETTINGS, *documented(Settings, ServerSettings).values())


def check() -> int:
    """Say whether a server would start with this configuration, or what is wrong; the exit code."""
    faults: list[str] = []
    settings = _load_or_note(load_settings, faults)
    server = _load_or_note(load_server_settings, faults)
    if settings is None or server is None:
        # Some settings are read for both.
        sys.stderr.writelines(f"{fault}\n" for fault in dict.fromkeys(faults))
        return 2
    sys.stdout.write(
        f"configuration ok: {_counted(len(settings.models), 'model')}, "
        f"{_counted(len(settings.api_keys), 'API key')}, {settings.environment}, "
        f"{_counted(server.workers, 'worker')} on {server.host}:{server.port}\n"
    )
    return 0


def _load_or_note(load: Callable[[], _Built], faults: list[str]) -> _Built | None:
    try:
        return load()
    except SettingsError as error:
        faults += error.faults
        return None


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


if __name__ == "__main__":
    sys.exit(check())
