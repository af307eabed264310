"""What the application and its server both need to know."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, get_args

from opendify.configuration import readers as read
from opendify.configuration.fields import section, setting
from opendify.settings.files import FileSettings
from opendify.settings.logs import LogSettings
from opendify.settings.metrics import MetricsSettings

# ruff: noqa: RUF009 - `setting` makes a field, with an immutable default.

Environment = Literal["production", "development"]
LogLevel = Literal["debug", "info", "warning", "error", "critical"]

ENVIRONMENTS: Final[tuple[Environment, ...]] = get_args(Environment)
LOG_LEVELS: Final[tuple[LogLevel, ...]] = get_args(LogLevel)


@dataclass(frozen=True, kw_only=True)
class CommonSettings:
    """See the module."""

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
    logs: LogSettings = section(LogSettings)
    metrics: MetricsSettings = section(MetricsSettings)
    max_request_bytes: int = setting(
        "MAX_REQUEST_BYTES",
        read.whole_number(1_024, 10 * 1024**3),
        str(50 * 1024**2),
        "The largest request body in bytes.",
    )
    data_dir: Path = setting(
        "DATA_DIR",
        read.path,
        "data",
        "The folder for all local state; a relative path starts at the project's folder.",
    )
    files: FileSettings = section(FileSettings)
