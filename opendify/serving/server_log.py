"""Gunicorn's own lines, in the form of all others and to the same places."""

import logging
from collections.abc import Mapping, MutableMapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from gunicorn.config import Config
from gunicorn.glogging import Logger
from gunicorn.http.message import Request
from gunicorn.http.wsgi import Response

from opendify.telemetry.logs import JsonFormatter

if TYPE_CHECKING:
    from gunicorn.glogging import _AtomsDict


class ServerLog(Logger):
    """Leaves its lines to the handlers that `configure_logging` made, unless it is given a file of its own.

    The access log stays Gunicorn's, but no line of it can be forged, or show a key.
    """

    def atoms(
        self, resp: Response, req: Request, environ: MutableMapping[str, Any], request_time: timedelta
    ) -> "_AtomsDict":
        """As in the base class; a path comes decoded, so it may hold a line's end."""
        atoms = super().atoms(resp, req, environ, request_time)
        atoms["U"] = _printable(atoms["U"])
        atoms["f"] = _printable(atoms["f"])
        atoms["a"] = _printable(atoms["a"])
        # With basic authentication some send their key as the user.
        atoms["u"] = "-"
        return atoms

    def setup(self, cfg: Config) -> None:
        """As in the base class."""
        super().setup(cfg)
        self.error_log.addFilter(_leave_out_url)
        if cfg.errorlog == "-":
            for handler in list(self.error_log.handlers):
                self.error_log.removeHandler(handler)
            self.error_log.propagate = True


class JsonServerLog(ServerLog):
    """The same, with an access log of JSON."""

    def setup(self, cfg: Config) -> None:
        """As in the base class."""
        super().setup(cfg)
        for handler in self.access_log.handlers:
            handler.setFormatter(JsonFormatter())

    def access(
        self, resp: Response, req: Request, environ: MutableMapping[str, Any], request_time: timedelta
    ) -> None:
        """As in the base class."""
        if self.access_log_enabled:
            atoms = self.atoms(resp, req, environ, request_time)
            self.access_log.info("request served", extra=_access_fields(atoms))


def _access_fields(atoms: "_AtomsDict") -> Mapping[str, object]:
    """What the combined format tells, under the names that the line of a request has."""
    return {
        "request_id": atoms.get("{x-request-id}o"),
        "client": atoms["h"],
        "method": atoms["m"],
        "path": atoms["U"],
        "protocol": atoms["H"],
        "status": int(atoms["s"]),
        "bytes": atoms["B"],
        "user_agent": atoms["a"],
        "seconds": round(atoms["D"] / 1_000_000, 6),
    }


def _leave_out_url(record: logging.LogRecord) -> bool:
    """Gunicorn names the URL of a request that failed, whose query may hold a key."""
    if str(record.msg).startswith("Error handling request"):
        record.msg, record.args = "Error handling request", ()
    return True


def _printable(text: str | None) -> str:
    text = str(text)
    return text if text.isprintable() else text.encode("unicode_escape").decode("ascii")
