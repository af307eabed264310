"""What Dify says of each app: its mode, its input form, its files; asked on first use and cached."""

import copy
import logging
import math
import threading
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import get_args

from opendify.bounded import remember
from opendify.dify.client import DifyClient
from opendify.dify.file_rules import read_app_rules, read_input_rules, read_size_limits, takes_files
from opendify.errors import DifyAppError, DifyAuthError, DifyCircuitOpen, GatewayError
from opendify.records import FILE_INPUTS, AppProfile, Clock, FileRules, InputField
from opendify.settings import AppMode, DifyApp
from opendify.translate.dify_errors import error_from_response

# Before 1.4.0 `/info` has no mode. A stop always answers 200 on the right route and stops nothing here.
_PROBES: tuple[tuple[str, AppMode], ...] = (
    ("/chat-messages/{task_id}/stop", "chat"),
    ("/completion-messages/{task_id}/stop", "completion"),
    ("/workflows/tasks/{task_id}/stop", "workflow"),
)
_FAILURE_SECONDS = 1.0
_STALE_SECONDS = 5.0
_MOST_KNOWN = 2_000
_PROBE_SAYS_NO = frozenset({400, 404})
_PROBE_USER = "opendify-probe"

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class _Entry:
    lock: threading.Lock
    profile: AppProfile | None = None
    expires_at: float = -math.inf
    failure: GatewayError | None = None
    failed_at: float = -math.inf


class Discovery:
    """Profiles of all apps; one question at a time per app, however many requests wait for it."""

    def __init__(self, client: DifyClient, *, ttl_seconds: float, clock: Clock) -> None:
        self._client = client
        self._ttl_seconds = ttl_seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._entries: dict[tuple[str, str], _Entry] = {}

    def profile(self, app: DifyApp) -> AppProfile:
        """What is known of `app`, asking Dify where that is missing or old.

        An old profile serves on while Dify cannot be asked.

        Raises:
            GatewayError: Dify cannot be asked, and nothing is known yet.
        """
        entry = self._entry(app)
        profile = entry.profile
        if profile and self._clock() < entry.expires_at:
            return profile
        if profile and entry.lock.locked():
            return profile  # Somebody asks already; the old answer serves until then.
        with entry.lock:
            if entry.profile is None or self._clock() >= entry.expires_at:
                return self._refresh(app, entry)
            return entry.profile

    def known_profile(self, app: DifyApp) -> AppProfile | None:
        """What is known already; never waits."""
        return self._entry(app).profile

    def forget(self, app: DifyApp) -> None:
        """Ask again on next use: Dify said that the app is of another mode."""
        self._entry(app).expires_at = -math.inf

    def _entry(self, app: DifyApp) -> _Entry:
        # Apps that callers bring share a name.
        key = (app.name, app.api_key)
        entry = self._entries.get(key)
        if entry is None:
            with self._lock:
                entry = self._entries.get(key) or remember(
                    self._entries, key, _Entry(threading.Lock()), most=_MOST_KNOWN
                )
        return entry

    def _refresh(self, app: DifyApp, entry: _Entry) -> AppProfile:
        # Those who waited for a question that failed share its answer, instead of asking one by one.
        if entry.failure and self._clock() < entry.failed_at + _FAILURE_SECONDS:
            # By now its server may be left alone, which says more.
            self._client.refuse_while_away(app)
            # A copy: each time an exception is raised, its traceback grows.
            raise copy.copy(entry.failure)
        try:
            entry.profile, entry.failure = self._ask(app), None
        except GatewayError as error:
            if entry.profile is None:
                entry.failure, entry.failed_at = error, self._clock()
                raise
            logger.warning("an app's profile could not be renewed", extra={"model": app.name})
            entry.expires_at = self._clock() + min(self._ttl_seconds, _STALE_SECONDS)
        else:
            entry.expires_at = self._clock() + self._ttl_seconds
        return entry.profile

    def _ask(self, app: DifyApp) -> AppProfile:
        about, version = self._about(app)
        profile = AppProfile(
            mode=app.mode or self._mode(app, about.get("mode")),
            name=str(about.get("name") or ""),
            description=str(about.get("description") or ""),
            version=version,
        )
        return self._with_parameters(app, profile)

    def _about(self, app: DifyApp) -> tuple[Mapping[str, object], str]:
        try:
            response, about = self._client.call(app, "GET", "/info")
        except GatewayError as error:
            if app.mode is None or _says_more_than_no(error):
                raise
            return {}, ""  # The configured mode is enough to run the app.
        return about if isinstance(about, Mapping) else {}, response.headers.get("x-version", "")

    def _mode(self, app: DifyApp, stated: object) -> AppMode:
        mode = next((mode for mode in get_args(AppMode) if mode == stated), None)
        return mode or self._probe(app)

    def _probe(self, app: DifyApp) -> AppMode:
        task_id = uuid.uuid4()
        for path, mode in _PROBES:
            response = self._client.exchange(app, "POST", path.format(task_id=task_id), {"user": _PROBE_USER})
            if response.status_code == 200:
                return mode
            if response.status_code not in _PROBE_SAYS_NO:
                raise error_from_response(response.status_code, response.content)
        raise DifyAppError(
            f"The mode of the app behind {app.name!r} could not be found out; its operator can set `mode`"
        )

    def _with_parameters(self, app: DifyApp, profile: AppProfile) -> AppProfile:
        try:
            _, parameters = self._client.call(app, "GET", "/parameters")
        except GatewayError as error:
            if _says_more_than_no(error):
                raise
            # An unpublished app has none; running it will say so better.
            logger.warning("an app's parameters could not be read", extra={"model": app.name})
            return profile
        return read_parameters(profile, parameters)


def _says_more_than_no(error: GatewayError) -> bool:
    """Whether the app's key is wrong or Dify is away; any other refusal leaves an app that may run."""
    return isinstance(error, DifyAuthError | DifyCircuitOpen) or error.is_outage


def read_parameters(profile: AppProfile, parameters: object) -> AppProfile:
    """`profile` with what `GET /parameters` tells.

    Source: Dify's `core/app/app_config/common/parameters_mapping`
    """
    if not isinstance(parameters, Mapping):
        return profile
    file_upload = parameters.get("file_upload")
    return replace(
        profile,
        form=tuple(_read_form(parameters.get("user_input_form"))),
        is_moderated=_is_enabled(parameters.get("sensitive_word_avoidance")),
        hears=_is_enabled(parameters.get("speech_to_text")),
        speaks=_is_enabled(parameters.get("text_to_speech")),
        voice=_voice(parameters.get("text_to_speech")),
        takes_files=takes_files(file_upload),
        file_rules=read_app_rules(file_upload),
        most_file_bytes=read_size_limits(parameters.get("system_parameters")),
        opening_statement=str(parameters.get("opening_statement") or ""),
        suggested_questions=_texts(parameters.get("suggested_questions")),
    )


def _read_form(form: object) -> Iterator[InputField]:
    """The form is a list of objects with one key each: the field's type."""
    for item in form if isinstance(form, list) else []:
        for kind, field in item.items() if isinstance(item, Mapping) else ():
            if isinstance(field, Mapping) and isinstance(field.get("variable"), str):
                yield _read_field(str(kind), field)


def _read_field(kind: str, field: Mapping[str, object]) -> InputField:
    max_length = field.get("max_length")
    return InputField(
        name=str(field["variable"]),
        type=kind,
        required=bool(field.get("required")) and kind != "external_data_tool",
        max_length=max_length if isinstance(max_length, int) and max_length > 0 else None,
        options=_texts(field.get("options")),
        default=field.get("default") or None,
        files=read_input_rules(kind, field) if kind in FILE_INPUTS else FileRules(),
    )


def _texts(values: object) -> tuple[str, ...]:
    return tuple(value for value in values if isinstance(value, str)) if isinstance(values, list) else ()


def _is_enabled(switch: object) -> bool | None:
    return bool(switch.get("enabled")) if isinstance(switch, Mapping) else None


def _voice(text_to_speech: object) -> str:
    voice = text_to_speech.get("voice") if isinstance(text_to_speech, Mapping) else None
    return voice if isinstance(voice, str) else ""
