"""Log lines: a constant message, then what varies as `name=value`; never contents, headers or keys."""

import copy
import functools
import json
import logging
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from io import TextIOWrapper
from itertools import islice
from logging.handlers import WatchedFileHandler
from pathlib import Path
from types import TracebackType
from typing import Any, Final, TextIO

import msgspec

from opendify.settings.logs import LogSettings

REQUEST_LOGGER: Final = "opendify.requests"
"""Its lines are the access log: one a request."""

_STANDARD_FIRST = len(vars(logging.makeLogRecord({})))
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "color_message"}
# Errors of the world outside: what these say of themselves is for operators, and none of it is a client's.
_OPEN_ABOUT_THEMSELVES = ("redis", "sqlite3", "psycopg", "psycopg_pool", "ssl", "socket", "httpx", "httpcore")
_MEGABYTE: Final = 1024**2
# Of the file: its owner writes, its group reads.
_MODE: Final = 0o640

_encode: Final = msgspec.json.Encoder(enc_hook=str).encode
_encode_in_ascii: Final = json.JSONEncoder(default=str).encode

_ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]


class _Formatter(logging.Formatter):
    """Shows where an exception came from, and of its message only what cannot be a client's.

    Of a warning's it shows the first cause alone: something outside fails, maybe at each request.
    """

    def formatException(self, ei: _ExcInfo) -> str:  # noqa: N802 - The library's name.
        """See `logging.Formatter.formatException`; the messages of unknown exceptions may quote a request."""
        error = ei[1]
        return "" if error is None else "".join(_story(error)).rstrip()


class TextFormatter(_Formatter):
    """Puts the `extra` of a record behind its message."""

    def format(self, record: logging.LogRecord) -> str:
        """See `logging.Formatter.format`; in one go, where the library's own takes a dozen steps."""
        record = _with_cause(record)
        at = f"{_second(int(record.created))},{int(record.msecs):03d}"
        values = _values(_extras(record))
        line = f"{at} - {record.levelname} - {record.getMessage()}{' ' if values else ''}{values}"
        exception = self.formatException(record.exc_info) if record.exc_info else None
        return "\n".join([line, *filter(None, (exception, record.stack_info))])


class JsonFormatter(_Formatter):
    """One object a line: `time` (UTC), `level`, `logger`, `message`, the `extra` as it is, `exception`."""

    def format(self, record: logging.LogRecord) -> str:
        """See `logging.Formatter.format`."""
        record = _with_cause(record)
        line: dict[str, object] = {
            "time": f"{_utc_second(int(record.created))}.{int(record.created % 1 * 1000):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **_extras(record),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return _json(line)


class _Console(logging.StreamHandler[TextIO]):
    """Requests go to stdout, all else to stderr."""

    def __init__(self) -> None:
        super().__init__(sys.stderr)
        self._stdout, self._stderr = sys.stdout, sys.stderr

    def emit(self, record: logging.LogRecord) -> None:
        """See `logging.StreamHandler.emit`; who calls it holds the handler's lock."""
        self.stream = self._stdout if record.name == REQUEST_LOGGER else self._stderr
        super().emit(record)


class _WatchedFile(WatchedFileHandler):
    """As the base, but others may not read the file."""

    def _open(self) -> TextIOWrapper:
        return open(self.baseFilename, "a", encoding=self.encoding, opener=_open_for_group)


def _open_for_group(path: str, flags: int) -> int:
    return os.open(path, flags, _MODE)


class _InfoRecord(logging.LogRecord):
    """One that knows which of its attributes are its `extra`."""

    __slots__ = ("fields",)
    fields: Mapping[str, object]


def info_record(logger: str, message: str, fields: Mapping[str, object]) -> logging.LogRecord:
    """What `logger.info(message, extra=fields)` makes, for a line so frequent that its steps count.

    Of no field may the name be one that every record has.
    """
    record = _InfoRecord.__new__(_InfoRecord)
    record.fields, now = fields, time.time()
    vars(record).update(
        _INFO_ATTRIBUTES, name=logger, msg=message, created=now, msecs=now % 1 * 1000, **fields
    )
    return record


# What `LogRecord` finds out of a path, a process and a thread, which no line tells.
_INFO_ATTRIBUTES: Final = {
    **vars(logging.LogRecord("", logging.INFO, "", 0, "", None, None)),
    **dict.fromkeys(("thread", "threadName", "process", "processName")),
}


def configure_logging(level: str, logs: LogSettings | None = None) -> None:
    """Send what is at `level` and above to stderr, requests to stdout, and all to a file if one is set.

    Called by whoever starts the process.
    """
    logs = logs or LogSettings()
    formatter = JsonFormatter() if logs.format == "json" else TextFormatter()
    handlers: list[logging.Handler] = [_Console()]
    if logs.file:
        handlers.append(_to_file(logs.file, logs))
    for handler in handlers:
        handler.setFormatter(formatter)
    logging.basicConfig(level=level.upper(), handlers=handlers, force=True)
    _gather_only_what_is_shown()
    logging.getLogger(REQUEST_LOGGER).disabled = not logs.requests
    # httpx logs every URL at info, httpcore every byte at debug, and botocore what it signs.
    for noisy in ("httpx", "httpcore", "botocore", "boto3", "s3transfer", "urllib3"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def _gather_only_what_is_shown() -> None:
    """No line tells of threads, processes or files of code.

    Source: https://docs.python.org/3/howto/logging.html#optimization
    """
    logging._srcfile = None  # noqa: SLF001 - The documentation's own advice.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False


def _to_file(path: Path, logs: LogSettings) -> logging.Handler:
    """Many processes write it, and one of them puts it aside when it is full: no line is lost."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if logs.file_max_megabytes == 0:
        # Somebody else puts it aside, as logrotate does.
        return _WatchedFile(path, encoding="utf-8")
    from concurrent_log_handler import ConcurrentRotatingFileHandler

    return ConcurrentRotatingFileHandler(
        str(path),
        maxBytes=logs.file_max_megabytes * _MEGABYTE,
        backupCount=logs.file_backup_count,
        encoding="utf-8",
        chmod=_MODE,
    )


def _extras(record: logging.LogRecord) -> Mapping[str, object]:
    if isinstance(record, _InfoRecord):
        return record.fields
    # They come behind what every record has, among what formatters add.
    more = islice(vars(record).items(), _STANDARD_FIRST, None)
    return {name: value for name, value in more if name not in _STANDARD}


@functools.lru_cache(maxsize=2)
def _second(now: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(now))


def _values(extras: Mapping[str, object]) -> str:
    """As `name=value`, parted by spaces."""
    try:
        line = " ".join([f"{name}={_PLAINLY[type(value)](value)}" for name, value in extras.items()])
    except KeyError:
        line = ""
    # Of nearly all lines no text has to be quoted, which is seen in all of it at once.
    is_plain = line.isprintable() and line.count(" ") == len(extras) - 1
    if is_plain and "= " not in line and not line.endswith("="):
        return line
    return " ".join([f"{name}={_shown(value)}" for name, value in extras.items()])


# By the type, how a value is shown that holds nothing to be quoted.
_PLAINLY: Final[Mapping[type, Callable[[Any], object]]] = {
    str: str,
    int: int,
    float: "{:.4f}".format,
    bool: {True: "true", False: "false"}.get,
}


@functools.lru_cache(maxsize=2)
def _utc_second(now: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now))


def _json(line: Mapping[str, object]) -> str:
    """In ASCII: nothing in a line can end it."""
    try:
        encoded = _encode(line)
    except (ValueError, OverflowError):
        return _encode_in_ascii(line)
    return encoded.decode() if encoded.isascii() else _encode_in_ascii(line)


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:.4f}"
    text = str(value)
    return text if text and text.isprintable() and " " not in text else repr(text)


def _with_cause(record: logging.LogRecord) -> logging.LogRecord:
    error = record.exc_info[1] if record.exc_info else None
    if error is None or record.levelno > logging.WARNING:
        return record
    brief = copy.copy(record)
    brief.exc_info = None
    vars(brief)["cause"] = _named(_first_cause(error))
    return brief


def _first_cause(error: BaseException) -> BaseException:
    before = _before(error)
    return error if before is None else _first_cause(before)


def _before(error: BaseException) -> BaseException | None:
    return error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def _story(error: BaseException) -> Iterator[str]:
    """Oldest cause first, as Python shows it."""
    before = _before(error)
    if before is not None:
        yield from _story(before)
        yield "\nwhich led to:\n\n"
    if error.__traceback__:
        yield "Traceback (most recent call last):\n"
        yield from traceback.format_tb(error.__traceback__)
    yield f"{_named(error)}\n"


def _named(error: BaseException) -> str:
    return f"{type(error).__module__}.{type(error).__qualname__}{_own_words(error)}"


def _own_words(error: BaseException) -> str:
    if isinstance(error, OSError):
        return f": {error.strerror or type(error).__name__}"
    is_open = type(error).__module__.partition(".")[0] in _OPEN_ABOUT_THEMSELVES
    return f": {error}" if is_open else ""
