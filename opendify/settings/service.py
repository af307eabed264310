"""What the application needs to know."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final, Literal, get_args

from opendify.configuration import readers as read
from opendify.configuration.fields import section, setting, setting_without_default
from opendify.configuration.model_table import DifyApp
from opendify.configuration.readers import ApiKey
from opendify.configuration.replay_templates import read_replay_templates
from opendify.settings.access import AccessSettings
from opendify.settings.attachments import AttachmentSettings
from opendify.settings.audio import AudioSettings
from opendify.settings.common import CommonSettings
from opendify.settings.responses import ResponseSettings
from opendify.settings.sentry import SentrySettings
from opendify.settings.tracing import TracingSettings

# ruff: noqa: RUF009 - `setting` makes a field, with an immutable default.

AuthMode = Literal["keys", "open", "passthrough"]
DifyTransport = Literal["sockets", "httpx"]

AUTH_MODES: Final[tuple[AuthMode, ...]] = get_args(AuthMode)
DIFY_TRANSPORTS: Final[tuple[DifyTransport, ...]] = get_args(DifyTransport)


@dataclass(frozen=True, kw_only=True)
class Settings(CommonSettings):
    """What the application needs to know. `models` are in table order."""

    models: tuple[DifyApp, ...]
    passed_app: DifyApp | None = None
    """In pass-through mode, every app that answers for its own key, but for that key."""
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
        "`keys` asks clients for a key of `API_KEYS`; `open` accepts any key, and none; `passthrough` also "
        "takes the key of any Dify app at `DIFY_API_BASE`, which then answers every model.",
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
    access: AccessSettings = section(AccessSettings)
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
        is_secret=True,
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
    responses: ResponseSettings = section(ResponseSettings)
    audio: AudioSettings = section(AudioSettings)
    attachments: AttachmentSettings = section(AttachmentSettings)
    sentry: SentrySettings = section(SentrySettings)
    tracing: TracingSettings = section(TracingSettings)
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

    @property
    def last_backup_path(self) -> Path:
        """The file whose time is that of the last backup."""
        return self.data_dir / "last-backup"

    @property
    def model_names(self) -> tuple[str, ...]:
        """What clients may ask for; where there is no table, what every app is called for its own key."""
        apps = self.models or ((self.passed_app,) if self.passed_app else ())
        return tuple(app.name for app in apps)

    def find_model(self, name: str) -> DifyApp | None:
        """The model with this name or alias."""
        return self._models_by_name.get(name)

    @cached_property
    def _models_by_name(self) -> Mapping[str, DifyApp]:
        return {name: model for model in self.models for name in (model.name, *model.aliases)}
