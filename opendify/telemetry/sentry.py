"""Faults of ours, reported to Sentry where `SENTRY_DSN` asks for it: the place in the code, and nothing else.

By itself the SDK sends local variables, bodies, queries and exceptions' words, in all of
which a prompt may stand. So an event is not cleaned but built anew, from what is known to
be ours.
"""

import atexit
import contextlib
import importlib.util
import logging
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from opendify import __version__
from opendify.settings import SettingsError
from opendify.settings.sentry import SentrySettings

if TYPE_CHECKING:
    from sentry_sdk.types import Event, Hint

_KEPT: Final = ("event_id", "timestamp", "platform", "level", "release", "environment", "sdk", "logger")
_KEPT_OF_FRAME: Final = ("filename", "function", "module", "lineno", "in_app")
_FLUSH_SECONDS: Final = 2


class Reporter:
    """Reports for one process; nothing is open before its first report, so after the fork."""

    def __init__(self, settings: SentrySettings, environment: str) -> None:
        """See the class.

        Raises:
            SettingsError: The SDK is not installed, or the DSN is none.
        """
        if importlib.util.find_spec("sentry_sdk") is None:
            raise SettingsError("SENTRY_DSN needs Sentry's SDK: pip install 'opendify[sentry]'")
        from sentry_sdk.utils import BadDsn, Dsn

        try:
            Dsn(settings.dsn or "")
        except (BadDsn, ValueError):
            raise SettingsError("SENTRY_DSN is no DSN of Sentry's") from None
        self._settings = settings
        self._environment = environment
        self._lock = threading.Lock()
        self._is_open = False

    def report(self, error: BaseException, logger: str) -> None:
        """Send it in the background; `logger` is the name of the one that was told of it."""
        import sentry_sdk

        self._open()
        with sentry_sdk.new_scope() as scope:
            scope.set_tag("logger", logger)
            sentry_sdk.capture_exception(error)

    def _open(self) -> None:
        import sentry_sdk

        with self._lock:
            if self._is_open:
                return
            sentry_sdk.init(
                dsn=self._settings.dsn,
                release=__version__,
                environment=self._environment,
                default_integrations=False,
                auto_enabling_integrations=False,
                include_local_variables=False,
                include_source_context=False,
                max_request_body_size="never",
                max_breadcrumbs=0,
                send_client_reports=False,
                auto_session_tracking=False,
                server_name="",
                shutdown_timeout=_FLUSH_SECONDS,
                before_send=_rebuilt,
            )
            # The SDK's own way to wait for the last reports is one of its integrations.
            atexit.register(sentry_sdk.flush, _FLUSH_SECONDS)
            self._is_open = True


class ReportHandler(logging.Handler):
    """Reports every error that is logged with its exception."""

    def __init__(self, reporter: Reporter) -> None:
        super().__init__(logging.ERROR)
        self._reporter = reporter

    def emit(self, record: logging.LogRecord) -> None:
        """See `logging.Handler.emit`; what the SDK itself says is not reported."""
        error = record.exc_info[1] if record.exc_info else None
        if error is not None and not record.name.startswith(("sentry_sdk", "urllib3")):
            # A request must not fail because nobody could be told of another.
            with contextlib.suppress(Exception):
                self._reporter.report(error, record.name)


def _rebuilt(event: "Event", hint: "Hint") -> "Event":  # noqa: ARG001 - The SDK's signature.
    told: dict[str, Any] = dict(event)
    kept: dict[str, Any] = {name: told[name] for name in _KEPT if name in told}
    exceptions = (told.get("exception") or {}).get("values") or ()
    kept["exception"] = {"values": [_without_words(each) for each in exceptions]}
    kept["tags"] = told.get("tags") or {}
    rebuilt: Event = kept  # type: ignore[assignment] # The keys are the event's own.
    return rebuilt


def _without_words(exception: Mapping[str, Any]) -> Mapping[str, Any]:
    frames = (exception.get("stacktrace") or {}).get("frames") or ()
    shown = [{name: frame[name] for name in _KEPT_OF_FRAME if name in frame} for frame in frames]
    return {
        "type": exception.get("type"),
        "module": exception.get("module"),
        # Sentry shows something; what the exception says may quote a request.
        "value": "",
        "stacktrace": {"frames": shown},
    }
