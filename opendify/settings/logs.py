"""What is logged, how, and where to."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, get_args

from opendify.configuration import readers as read
from opendify.configuration.fields import setting, setting_without_default

LogFormat = Literal["text", "json"]

LOG_FORMATS: Final[tuple[LogFormat, ...]] = get_args(LogFormat)

# ruff: noqa: RUF009 - `setting` makes a field, with an immutable default.


@dataclass(frozen=True, kw_only=True)
class LogSettings:
    """See the module."""

    format: LogFormat = setting(
        "LOG_FORMAT",
        read.one_of(LOG_FORMATS),
        "text",
        "`text` is a line for people, `json` an object a line for programs.",
    )
    requests: bool = setting(
        "ENABLE_REQUEST_LOGGING", read.flag, "true", "Whether each request leaves one line, on stdout."
    )
    access_log: bool = setting(
        "ENABLE_ACCESS_LOG",
        read.flag,
        "false",
        "Whether Gunicorn's access log is written too, to stdout; it costs more than our line.",
    )
    file: Path | None = setting_without_default(
        "LOG_FILE",
        read.path,
        None,
        "A file that gets every line as well; a relative path starts at the project's folder.",
    )
    file_max_megabytes: int = setting(
        "LOG_FILE_MAX_SIZE",
        read.whole_number(0, 1_000_000),
        "20",
        "Megabytes after which the file is put aside and a new one begun; 0 is never.",
    )
    file_backup_count: int = setting(
        "LOG_FILE_BACKUP_COUNT",
        read.whole_number(1, 10_000),
        "5",
        "So many files that were put aside are kept.",
    )
