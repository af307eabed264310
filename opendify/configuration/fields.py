"""Fields of settings classes: each knows its variable, its reader and its documentation."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, TypeVar, cast

from opendify.configuration.readers import SettingsError, WrongValue, path
from opendify.configuration.table_text import read_secret_file

_Value = TypeVar("_Value")
_Unset = TypeVar("_Unset")
_Section = TypeVar("_Section")

# What the last of these words in a field's name says of its number.
_UNITS: Final = {
    "seconds": "seconds",
    "days": "days",
    "bytes": "bytes",
    "megabytes": "megabytes",
    "chars": "characters",
    "pixels": "pixels",
}


@dataclass(frozen=True, kw_only=True)
class SettingDoc:
    """A setting as documentation and `.env.example` show it; `default` is empty where there is none.

    `unit` is what its number counts, where the field's name says it.
    """

    name: str
    description: str
    default: str = ""
    development_default: str | None = None
    alias: str | None = None
    is_secret: bool = False
    unit: str = ""

    @property
    def variables(self) -> tuple[str, ...]:
        """Every variable that is read for this setting; secrets can come in a file."""
        alias = (self.alias,) if self.alias else ()
        file = (f"{self.name}_FILE",) if self.is_secret else ()
        return (self.name, *alias, *file)


def setting(
    name: str,
    reader: Callable[[str], _Value],
    default: str,
    description: str,
    *,
    development_default: str | None = None,
    alias: str | None = None,
    is_secret: bool = False,
) -> _Value:
    """A field whose default is written as an operator would write it, and read alike."""
    doc = SettingDoc(
        name=name,
        description=description,
        default=default,
        development_default=development_default,
        alias=alias,
        is_secret=is_secret,
    )
    return field(default=reader(default), repr=not is_secret, metadata={"doc": doc, "reader": reader})


def setting_without_default(
    name: str,
    reader: Callable[[str], _Value],
    unset: _Unset,
    description: str,
    *,
    alias: str | None = None,
    is_secret: bool = False,
) -> _Value | _Unset:
    """A field that is `unset` when no variable gives it, which no text would stand for."""
    doc = SettingDoc(name=name, description=description, alias=alias, is_secret=is_secret)
    value: _Value | _Unset = field(default=unset, repr=not is_secret, metadata={"doc": doc, "reader": reader})
    return value


def section(kind: type[_Section]) -> _Section:
    """A field that holds the settings of one matter; each field of `kind` has a default."""
    made: _Section = field(default_factory=kind, metadata={"section": kind})
    return made


def documented(*kinds: type) -> dict[str, SettingDoc]:
    """The documentation of all settings that are fields of these classes, by name, in their order."""
    fields = [each for kind in kinds for each in _described_fields(kind)]
    docs = (replace(cast("SettingDoc", each.metadata["doc"]), unit=_unit_in(each.name)) for each in fields)
    return {doc.name: doc for doc in docs}


def _unit_in(field_name: str) -> str:
    """`seconds` of `idle_timeout_seconds`, `bytes` of `max_bytes_per_key`."""
    return next((_UNITS[word] for word in reversed(field_name.split("_")) if word in _UNITS), "")


def _described_fields(kind: type) -> Iterator[dataclasses.Field[object]]:
    for each in dataclasses.fields(kind):
        if "section" in each.metadata:
            yield from _described_fields(each.metadata["section"])
        elif "doc" in each.metadata:
            yield each


def read_fields(
    kind: type, environ: Mapping[str, str], faults: list[str], environment: object = None
) -> dict[str, object]:
    """The fields that are set, or have a default text; what is wrong with the others goes to `faults`.

    The field `environment` must stand before sections, and fields whose default depends on it.
    """
    values: dict[str, object] = {}
    for each in dataclasses.fields(kind):
        environment = values.get("environment", environment)
        if part := each.metadata.get("section"):
            values[each.name] = part(**read_fields(part, environ, faults, environment))
        elif "doc" in each.metadata:
            try:
                if text := _text_of(each.metadata["doc"], environ, environment):
                    values[each.name] = each.metadata["reader"](text)
            except WrongValue as error:
                faults.append(f"{each.metadata['doc'].name} {error}")
            except SettingsError as error:
                faults += error.faults
    return values


def _text_of(doc: SettingDoc, environ: Mapping[str, str], environment: object) -> str:
    return _find_text(doc, environ) or _default_text(doc, environment)


def find_variable(name: str, environ: Mapping[str, str]) -> str | None:
    """The variable's text; one that is set to nothing counts as not set."""
    text = environ.get(name, "").strip()
    # `docker run --env-file` hands over the quotes that other readers of `.env` take off.
    if len(text) >= 2 and text[0] == text[-1] and text[0] in "\"'":
        text = text[1:-1].strip()
    return text or None


def _find_text(doc: SettingDoc, environ: Mapping[str, str]) -> str | None:
    text = find_variable(doc.name, environ)
    if text is None and doc.alias:
        text = find_variable(doc.alias, environ)
    if not doc.is_secret:
        return text
    file = find_variable(f"{doc.name}_FILE", environ)
    if file is None:
        return text
    if text is not None:
        raise SettingsError(f"{doc.name} and {doc.name}_FILE are both set; keep one")
    try:
        return read_secret_file(path(file))
    except WrongValue as error:
        raise SettingsError(f"{doc.name}_FILE {error}") from None


def _default_text(doc: SettingDoc, environment: object) -> str:
    if environment == "development" and doc.development_default is not None:
        return doc.development_default
    return doc.default
