"""The table of models: which Dify app answers under which name."""

import dataclasses
import difflib
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Final, Literal, get_args

from pydantic import JsonValue

from opendify.configuration.model_options import APP_KEY, ModelOptions, Placement, checked_name
from opendify.configuration.readers import SettingsError, WrongValue, shown

AppMode = Literal["chat", "agent-chat", "agent", "advanced-chat", "completion", "workflow"]
Reasoning = Literal["separate", "inline", "drop"]
Files = Literal["auto", "fetch", "off"]
FallbackOn = Literal["refused", "failed"]
OnDisconnect = Literal["stop", "continue"]
Steps = Literal["names", "full", "off"]
CitationStyle = Literal["annotations", "footnotes", "off"]

APP_MODES: Final[tuple[AppMode, ...]] = get_args(AppMode)
FILES: Final[tuple[Files, ...]] = get_args(Files)
REASONINGS: Final[tuple[Reasoning, ...]] = get_args(Reasoning)
FALLBACK_ONS: Final[tuple[FallbackOn, ...]] = get_args(FallbackOn)
ON_DISCONNECTS: Final[tuple[OnDisconnect, ...]] = get_args(OnDisconnect)
STEPS: Final[tuple[Steps, ...]] = get_args(Steps)
CITATION_STYLES: Final[tuple[CitationStyle, ...]] = get_args(CitationStyle)


@dataclass(frozen=True, kw_only=True)
class DifyApp:
    """One model: a Dify app, the server it lives on, and how it wants to be spoken to.

    `timeout_seconds` is how long the app may stay silent; `max_concurrency` is how many runs it gets at
    once; `inputs` are defaults, of which clients may override all but the `locked_inputs`; `hold_back`
    withholds the text of an app whose output is moderated until it is whole; `mode` is asked of Dify unless
    it is set here; `background_model` answers the titles and tags that clients ask for behind a chat;
    `fallbacks` are models that answer in its place, in this order, where it could not start, or, if
    `fallback_on` says so, failed. With `on_disconnect` a workflow's run goes on when its client leaves.
    """

    name: str
    api_key: str = field(repr=False)
    api_base: str
    mode: AppMode | None = None
    aliases: tuple[str, ...] = ()
    inputs: Mapping[str, JsonValue] = field(default_factory=dict, repr=False)
    locked_inputs: frozenset[str] = frozenset()
    query_input: str | None = None
    output: str | None = None
    system: Placement = "auto"
    history: Placement = "auto"
    reasoning: Reasoning = "separate"
    steps: Steps = "names"
    citations: CitationStyle = "annotations"
    hold_back: bool = False
    files: Files = "auto"
    timeout_seconds: float | None = None
    max_concurrency: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    ca_file: Path | None = None
    background_model: str | None = None
    fallbacks: tuple[str, ...] = ()
    fallback_on: FallbackOn = "refused"
    on_disconnect: OnDisconnect = "stop"
    description: str = field(default="", repr=False)

    def __hash__(self) -> int:
        """Of what tells apps apart, since they are looked up with each request."""
        return hash((self.name, self.api_key))

    @cached_property
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
    names = _names_in(table)
    faults += _unknown_background_models(models, names, source)
    faults += _wrong_fallbacks(models, names, source)
    if faults:
        raise SettingsError(*faults)
    return tuple(models)


def _names_in(table: Mapping[object, object]) -> frozenset[object]:
    """Every name and alias, also those of entries that are wrong in another way: one fault is told once."""
    entries = [entry for entry in table.values() if isinstance(entry, dict)]
    aliases = (each for entry in entries for each in _listed(entry.get("aliases")))
    return frozenset((*table, *aliases))


def _listed(aliases: object) -> list[str]:
    return [each for each in aliases if isinstance(each, str)] if isinstance(aliases, list) else []


def _unknown_background_models(models: list[DifyApp], names: frozenset[object], source: str) -> list[str]:
    return [
        f"{source}, entry {shown(model.name)}: `background_model` is no model of this table"
        for model in models
        if model.background_model and model.background_model not in names
    ]


def _wrong_fallbacks(models: list[DifyApp], names: frozenset[object], source: str) -> list[str]:
    """Only a model's own list counts, so that two models may stand in for each other."""
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
    options = ModelOptions(_known_options(entry))
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
        steps=options.choice("steps", STEPS) or "names",
        citations=options.choice("citations", CITATION_STYLES) or "annotations",
        hold_back=options.switch("hold_back"),
        files=options.choice("files", FILES) or "auto",
        timeout_seconds=options.timeout_seconds(),
        max_concurrency=options.max_concurrency(),
        headers=options.headers(),
        ca_file=options.file("ca_file"),
        background_model=options.text("background_model"),
        fallbacks=options.texts("fallbacks"),
        fallback_on=options.choice("fallback_on", FALLBACK_ONS) or "refused",
        on_disconnect=options.choice("on_disconnect", ON_DISCONNECTS) or "stop",
        description=options.text("description") or "",
    )
    for locked in sorted(app.locked_inputs - app.inputs.keys()):
        raise WrongValue(f"`locked_inputs` names {shown(locked)}, which has no value in `inputs`")
    return app


def _model_name(name: object, entry: object) -> str:
    if not isinstance(name, str):
        raise WrongValue("the name must be text; put it in quotes")
    key_follows = isinstance(entry, dict) or (isinstance(entry, str) and entry.startswith("app-"))
    if APP_KEY.fullmatch(name) or (name.startswith("app-") and not key_follows):
        raise WrongValue('the name looks like an app key; write {"name of the model": "app-..."}')
    return checked_name(name, "the name")


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
