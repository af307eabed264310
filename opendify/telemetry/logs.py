"""Log lines: a constant message, then what varies as `name=value`; never contents, headers or keys."""

import logging
import sys

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "color_message"}


class KeyValueFormatter(logging.Formatter):
    """Puts the `extra` of a record behind its message."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s - %(levelname)s - %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - The library's name.
        """See `logging.Formatter.formatMessage`."""
        extras = {name: value for name, value in vars(record).items() if name not in _STANDARD}
        values = " ".join(f"{name}={_shown(value)}" for name, value in extras.items())
        message = super().formatMessage(record)
        return f"{message} {values}" if values else message


def configure_logging(level: str) -> None:
    """Send everything at `level` and above to stderr; called once, by whoever starts the process."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(KeyValueFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    # httpx logs every URL at info, httpcore every byte at debug.
    for noisy in ("httpx", "httpcore"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def _shown(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4f}"
    text = str(value)
    return text if text and text.isprintable() and " " not in text else repr(text)
