"""The table of models: which Dify app answers under which name."""

import dataclasses
import difflib
import hashlib
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal, TypeVar, get_args

from pydantic import JsonValue

from opendify.configuration.readers import (
    PROJECT_FOLDER,
    SettingsError,
    WrongValue,
    api_base,
    is_printable,
    is_token,
    shown,
)
from opendify.configuration.table_text import read_secret_file

AppMode = Literal["chat", "agent-chat", "agent", "advanced-chat", "completion", "workflow"]
Reasoning = Literal["separate", "inline", "drop"]
FallbackOn = Literal["refused", "failed"]

APP_MODES: Final[tuple[AppMode, ...]] = get_args(AppMode)
REASONINGS: Final[tuple[Reasoning, ...]] = get_args(Reasoning)
FALLBACK_ONS: Final[tuple[FallbackOn, ...]] = get_args(FallbackOn)

_Choice = TypeVar("_Choice", bound=str)

_DEEPEST_INPUT: Final = 32
_APP_KEY: Final = re.compile(r"app-[A-Za-z0-9]{16,}")
_HEADER_NAME: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
# The app key travels in the first; the others frame the request, which is the client's business.
_TAKEN_HEADERS: Final = frozenset(
    {"authorization", "connection", "content-length", "content-type", "transfer-encoding"}
)


@dataclass(frozen=True)
class IntoInput:
    """Put it into the app's input of this name."""

    name: str


Placement = Literal["auto", "query", "off"] | IntoInput


@dataclass(frozen=True, kw_only=True)
class DifyApp:
    """One model: a Dify app, the server it lives on, and how it wants to be spoken to.

    `timeout_seconds` is how long the app may stay silent; `max_concurrency` is how many runs it gets at
    once; `inputs` are defaults, of which clients may
    override all but the `locked_inputs`; `mode` is asked of Dify unless it is set here;
    `background_model` answers the titles and tags that clients ask for behind a chat; `fallbacks` are models
    that answer in its place, in this order, where it could not start, or, if `fallback_on` says so, failed.
    """

    name: str
    api_key: str = field(repr=False)
    api_base: str
    mode: AppMode | None = None
    aliases: tuple[str, ...] = ()
    inputs: Mapping[str, JsonValue] = field(default_factory=dict, repr=False, hash=False)
    locked_inputs: frozenset[str] = frozenset()
    query_input: str | None = None
    output: str | None = None
    system: Placement = "auto"
    history: Placement = "auto"
    reasoning: Reasoning = "separate"
    timeout_seconds: float | None = None
    max_concurrency: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict, repr=False, hash=False)
    ca_file: Path | None = None
    background_model: str | None = None
    fallbacks: tuple[str, ...] = ()
    fallback_on: FallbackOn = "refused"
    description: str = field(default="", repr=False)

    @property
    def fingerprint(self) -> str:
        """Which server and key this is, safe to log and to store."""
        return hashlib.sha256(f"{self.api_base}\n{self.api_key}".encode()).hexdigest()[:16]


OPTIONS: Final = (
    "api_key",
    "api_key_file",
    *(option.name for option in dataclasses.fields(DifyApp) if option.name not in ("name", "api_key")),
)


def read_models(table: object, source: str, default_api_base: str | None) -> tuple[DifyApp, ...]:
    """Read the parsed table; `source` is the variable that faults are blamed on.

    Raises:
        SettingsError: With one line for each entry that is wrong.
    """
    if not isinstance(table, dict):
        raise SettingsError(f'{source} must be an object such as {{"translator": "app-..."}}')
    if not table:
        raise SettingsError(f'{source} is empty; it needs at least one model: {{"translator": "app-..."}}')
    models, faults = [], []
    for position, (name, entry) in enumerate(table.items(), start=1):
        where = f"{source}, entry {position}"
        try:
            if isinstance(name, str):
                where = f"{where} {shown(name)}"
            models.append(_read_app(name, entry, default_api_base))
        except WrongValue as error:
            faults.append(f"{where}: {error}")
    faults += _repeated_names(models, source)
    faults += _unknown_background_models(models, source)
    faults += _wrong_fallbacks(models, source)
    if faults:
        raise SettingsError(*faults)
    return tuple(models)


def _unknown_background_models(models: list[DifyApp], source: str) -> list[str]:
    names = {name for model in models for name in (model.name, *model.aliases)}
    return [
        f"{source}, entry {shown(model.name)}: `background_model` is no model of this table"
        for model in models
        if model.background_model and model.background_model not in names
    ]


def _wrong_fallbacks(models: list[DifyApp], source: str) -> list[str]:
    """Only a model's own list counts, so that two models may stand in for each other."""
    names = {name for model in models for name in (model.name, *model.aliases)}
    faults = []
    for model in models:
        where = f"{source}, entry {shown(model.name)}"
        for fallback in model.fallbacks:
            if fallback not in names:
                faults.append(
                    f"{where}: `fallbacks` names {shown(fallback)}, which is no model of this table"
                )
            elif fallback in (model.name, *model.aliases):
                faults.append(f"{where}: `fallbacks` names the model itself")
        if model.fallback_on == "failed" and not model.fallbacks:
            faults.append(f"{where}: `fallback_on` needs `fallbacks`")
    return faults


def _repeated_names(models: list[DifyApp], source: str) -> list[str]:
    seen: set[str] = set()
    faults = []
    for model in models:
        for name in (model.name, *model.aliases):
            if name in seen:
                faults.append(
                    f"{source}, entry {shown(model.name)}: another model is called {shown(name)} too"
                )
            seen.add(name)
    return faults


def _read_app(name: object, entry: object, default_api_base: str | None) -> DifyApp:
    name = _model_name(name, entry)
    if isinstance(entry, str):
        entry = {"api_key": entry}
    options = _Options(_known_options(entry))
    app = DifyApp(
        name=name,
        api_key=options.api_key(),
        api_base=options.api_base(default_api_base),
        mode=options.choice("mode", APP_MODES),
        aliases=options.aliases(),
        inputs=options.inputs(),
        locked_inputs=frozenset(options.texts("locked_inputs")),
        query_input=options.text("query_input"),
        output=options.text("output"),
        system=options.placement("system"),
        history=options.placement("history"),
        reasoning=options.choice("reasoning", REASONINGS) or "separate",
        timeout_seconds=options.timeout_seconds(),
        max_concurrency=options.max_concurrency(),
        headers=options.headers(),
        ca_file=options.file("ca_file"),
        background_model=options.text("background_model"),
        fallbacks=options.texts("fallbacks"),
        fallback_on=options.choice("fallback_on", FALLBACK_ONS) or "refused",
        description=options.text("description") or "",
    )
    for locked in sorted(app.locked_inputs - app.inputs.keys()):
        raise WrongValue(f"`locked_inputs` names {shown(locked)}, which has no value in `inputs`")
    return app


def _model_name(name: object, entry: object) -> str:
    if not isinstance(name, str):
        raise WrongValue("the name must be text; put it in quotes")
    key_follows = isinstance(entry, dict) or (isinstance(entry, str) and entry.startswith("app-"))
    if _APP_KEY.fullmatch(name) or (name.startswith("app-") and not key_follows):
        raise WrongValue('the name looks like an app key; write {"name of the model": "app-..."}')
    return _checked_name(name, "the name")


def _checked_name(name: str, what: str) -> str:
    if not name or name != name.strip() or len(name) > 200 or not is_printable(name):
        raise WrongValue(f"{what} must have 1 to 200 characters, no control characters, no outer blanks")
    if _APP_KEY.fullmatch(name):
        raise WrongValue(f"{what} looks like an app key, which clients would then see")
    return name


def _known_options(entry: object) -> Mapping[str, object]:
    if not isinstance(entry, dict):
        raise WrongValue('must be an app key such as "app-...", or an object of options with an `api_key`')
    for option in entry:
        if option not in OPTIONS:
            raise WrongValue(_unknown_option(option))
    return entry


def _unknown_option(option: object) -> str:
    nearest = difflib.get_close_matches(option, OPTIONS, n=1) if isinstance(option, str) else []
    suggestion = f"did you mean `{nearest[0]}`? " if nearest else ""
    name = shown(option) if isinstance(option, str) else "that is not text"
    return f"unknown option {name}; {suggestion}The options are: {', '.join(OPTIONS)}"


class _Options:
    """An entry's options, each read with a fault that names it. `null` counts as not given."""

    def __init__(self, options: Mapping[str, object]) -> None:
        self._options = options

    def api_key(self) -> str:
        file = self.file("api_key_file")
        key = self._options.get("api_key")
        if file and key is not None:
            raise WrongValue("has both `api_key` and `api_key_file`; keep one")
        if file:
            try:
                key = read_secret_file(file)
            except WrongValue as error:
                raise WrongValue(f"`api_key_file` {error}") from None
        if not isinstance(key, str):
            raise WrongValue('`api_key` must be the app\'s key as text: "app-..."')
        return _checked_key(key)

    def api_base(self, default: str | None) -> str:
        address = self.text("api_base")
        if address is not None:
            try:
                return api_base(address)
            except WrongValue as error:
                raise WrongValue(f"`api_base` {error}") from None
        if default is None:
            raise WrongValue("has no `api_base`, and DIFY_API_BASE is not set")
        return default

    def text(self, option: str) -> str | None:
        text = self._options.get(option)
        if text is None:
            return None
        if not isinstance(text, str) or not text or not _is_unicode(text):
            raise WrongValue(f"`{option}` must be text, and not empty")
        return text

    def texts(self, option: str) -> tuple[str, ...]:
        texts = self._options.get(option)
        if texts is None:
            return ()
        if not isinstance(texts, list) or not all(isinstance(text, str) and text for text in texts):
            raise WrongValue(f"`{option}` must be a list of names")
        return tuple(texts)

    def aliases(self) -> tuple[str, ...]:
        return tuple(_checked_name(alias, "an alias") for alias in self.texts("aliases"))

    def choice(self, option: str, choices: tuple[_Choice, ...]) -> _Choice | None:
        given = self._options.get(option)
        for choice in choices:
            if given == choice:
                return choice
        if given is None:
            return None
        raise WrongValue(f"`{option}` must be one of {', '.join(choices)}")

    def placement(self, option: str) -> Placement:
        match self._options.get(option):
            case None:
                return "auto"
            case ("auto" | "query" | "off") as place:
                return place
            case {"input": str(name), **others} if name and is_printable(name) and not others:
                return IntoInput(name)
        raise WrongValue(f'`{option}` must be "auto", "query", "off" or {{"input": "name of the input"}}')

    def inputs(self) -> dict[str, JsonValue]:
        given = self._options.get("inputs")
        if given is None:
            return {}
        if not isinstance(given, dict):
            raise WrongValue("`inputs` must be an object of input names and values")
        return _json_object(given, depth=1)

    def timeout_seconds(self) -> float | None:
        given = self._options.get("timeout_seconds")
        if given is None:
            return None
        # `True` is an `int`, and `nan` compares false with everything.
        if isinstance(given, bool) or not isinstance(given, int | float) or not 0 < given <= 86_400:
            raise WrongValue("`timeout_seconds` must be a number above 0, at most 86400")
        return float(given)

    def max_concurrency(self) -> int | None:
        given = self._options.get("max_concurrency")
        if given is None:
            return None
        if isinstance(given, bool) or not isinstance(given, int) or not 1 <= given <= 10_000:
            raise WrongValue("`max_concurrency` must be a whole number from 1 to 10000")
        return given

    def headers(self) -> dict[str, str]:
        given = self._options.get("headers")
        if given is None:
            return {}
        if not isinstance(given, dict):
            raise WrongValue("`headers` must be an object of header names and values")
        return dict(_header(name, value) for name, value in given.items())

    def file(self, option: str) -> Path | None:
        text = self.text(option)
        if text is None:
            return None
        if not is_printable(text):
            raise WrongValue(f"`{option}` must be a path without control characters")
        return PROJECT_FOLDER / text


def _checked_key(key: str) -> str:
    if key.startswith("dataset-"):
        raise WrongValue(
            "the key is a knowledge key (dataset-...), which opens no app; use the app's (app-...)"
        )
    if re.match(r"(?i)https?://", key):
        raise WrongValue("the key looks like an address; the address goes into `api_base` or DIFY_API_BASE")
    if key.lower().startswith("bearer "):
        raise WrongValue("the key must stand alone, without `Bearer`")
    if not is_token(key):
        raise WrongValue(
            "the key must be the app's key in visible ASCII characters, without blanks, not empty"
        )
    return key


def _header(name: object, value: object) -> tuple[str, str]:
    if not isinstance(name, str) or not _HEADER_NAME.fullmatch(name):
        raise WrongValue("`headers` holds a name that is not a header's")
    if name.lower() in _TAKEN_HEADERS:
        raise WrongValue(f"`headers` must not set {name.lower()}, which the proxy sets itself")
    if not isinstance(value, str) or not all(" " <= character <= "~" for character in value):
        raise WrongValue(f"`headers` must give {shown(name)} a value of visible ASCII characters")
    return name, value


def _input_name(name: object) -> str:
    if not isinstance(name, str) or not name or not _is_unicode(name):
        raise WrongValue("`inputs` holds a name that is not text, or is empty")
    return name


def _json_object(given: Mapping[object, object], depth: int) -> dict[str, JsonValue]:
    return {_input_name(name): _json_value(value, depth) for name, value in given.items()}


def _json_value(value: object, depth: int) -> JsonValue:
    # YAML can hold a list that contains itself.
    if depth > _DEEPEST_INPUT:
        raise WrongValue("`inputs` is nested too deep")
    match value:
        case None | bool() | int():
            return value
        case float() if math.isfinite(value):
            return value
        case str() if _is_unicode(value):
            return value
        case list():
            return [_json_value(element, depth + 1) for element in value]
        case dict():
            return _json_object(value, depth + 1)
    # YAML and TOML have dates, Python has sets; Dify's API takes JSON.
    raise WrongValue("`inputs` holds a value that JSON does not have; put it in quotes")


def _is_unicode(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)
