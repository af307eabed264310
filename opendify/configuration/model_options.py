"""One model's options, each read with a fault that names it."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, TypeVar

from pydantic import JsonValue

from opendify.configuration.readers import (
    PROJECT_FOLDER,
    WrongValue,
    api_base,
    is_printable,
    is_token,
    shown,
)
from opendify.configuration.table_text import read_secret_file

_Choice = TypeVar("_Choice", bound=str)

APP_KEY: Final = re.compile(r"app-[A-Za-z0-9]{16,}")
_DEEPEST_INPUT: Final = 32
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


class ModelOptions:
    """An entry of the table. `null` counts as not given."""

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
        return tuple(checked_name(alias, "an alias") for alias in self.texts("aliases"))

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

    def switch(self, option: str) -> bool:
        given = self._options.get(option)
        if given is None or isinstance(given, bool):
            return bool(given)
        raise WrongValue(f"`{option}` must be true or false")

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


def checked_name(name: str, what: str) -> str:
    if not name or name != name.strip() or len(name) > 200 or not is_printable(name):
        raise WrongValue(f"{what} must have 1 to 200 characters, no control characters, no outer blanks")
    if APP_KEY.fullmatch(name):
        raise WrongValue(f"{what} looks like an app key, which clients would then see")
    return name


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
