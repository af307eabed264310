"""Gunicorn's own lines, in the form of all others and to the same places."""

import logging

from gunicorn.config import Config
from gunicorn.glogging import Logger


class ServerLog(Logger):
    """Leaves its lines to the handlers that `configure_logging` made, unless it is given a file of its own.

    The access log stays Gunicorn's.
    """

    def setup(self, cfg: Config) -> None:
        """As in the base class."""
        super().setup(cfg)
        self.error_log.addFilter(_leave_out_url)
        if cfg.errorlog == "-":
            for handler in list(self.error_log.handlers):
                self.error_log.removeHandler(handler)
            self.error_log.propagate = True


def _leave_out_url(record: logging.LogRecord) -> bool:
    """Gunicorn names the URL of a request that failed, whose query may hold a key."""
    if str(record.msg).startswith("Error handling request"):
        record.msg, record.args = "Error handling request", ()
    return True
