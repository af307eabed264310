"""What Gunicorn needs to know."""

from dataclasses import dataclass
from typing import Final, Literal, get_args

from opendify.configuration import readers as read
from opendify.configuration.fields import setting, setting_without_default
from opendify.settings.common import CommonSettings

# ruff: noqa: RUF009 - `setting` makes a field, with an immutable default.

WorkerClass = Literal["sync", "gthread", "gevent"]

WORKER_CLASSES: Final[tuple[WorkerClass, ...]] = get_args(WorkerClass)


@dataclass(frozen=True, kw_only=True)
class ServerSettings(CommonSettings):
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
        "Seconds in which a client must then have sent its request's body, or the next 4 MiB of a file.",
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
