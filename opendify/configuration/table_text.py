"""The text of the model table, and the files that settings name: JSON, Python literals, YAML, TOML.

Parsers' own messages quote what they read, which here may be a key; only positions are passed on.
"""

import ast
import json
import re
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from opendify.configuration.readers import SettingsError, WrongValue, shown

_JSON_HINTS: Final = (
    (r"[\u2018\u2019\u201c\u201d]", 'use straight quotes ("), not typographic ones'),
    # As most readers of `.env` cut what stands without quotes.
    (
        r"""\A[^"\\]*("([^"\\]|\\.)*"[^"\\]*)*"([^"\\]|\\.)*\Z""",
        "it ends within a text: in `.env`, # after a space begins a comment; put all of it in single quotes",
    ),
    (r'\\"', 'write " without a backslash before it'),
    (r"\A[^\"']*:[^\"']*\Z", "the quotes are gone, as when a shell reads it: put all of it in single quotes"),
    (r"\A\s*\{\s*\Z|\A[^}]*\Z", "the closing brace is missing; in `.env` the whole table stands on one line"),
    (r",\s*[}\]]", "remove the comma after the last entry"),
    (r"'", 'put names and values in double quotes (")'),
)


def parse_table_text(text: str, source: str) -> object:
    """Parse JSON, or a Python dict literal as older OpenDify files have it.

    Raises:
        SettingsError: With line and column; or for a name that is written twice.
    """

    def unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
        refuse_repeats((name for name, _ in pairs), source)
        return dict(pairs)

    try:
        return json.loads(text, object_pairs_hook=unique)
    except json.JSONDecodeError as error:
        position = f"line {error.lineno}, column {error.colno} ({error.msg})"
    except (ValueError, RecursionError):
        position = "a place that is nested too deep or holds too long a number"
    try:
        return _parse_python_literal(text, source)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        pass
    hints = (f"; {hint}" for pattern, hint in _JSON_HINTS if re.search(pattern, text))
    raise SettingsError(f"{source} is not valid JSON at {position}{next(hints, '')}")


def _parse_python_literal(text: str, source: str) -> object:
    with warnings.catch_warnings():
        # A warning about an odd escape would print the line.
        warnings.simplefilter("ignore")
        tree = ast.parse(text.strip(), mode="eval")
        table: object = ast.literal_eval(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Dict):
            refuse_repeats((key.value for key in node.keys if isinstance(key, ast.Constant)), source)
    return table


def read_table_file(file: Path, source: str) -> object:
    """Parse the file by its suffix; a top-level `models` may hold the table.

    Raises:
        SettingsError: Its content is wrong.
        WrongValue: It cannot be read.
    """
    text = _read_file(file)
    match file.suffix.lower():
        case ".json":
            table = parse_table_text(text, source)
        case ".yaml" | ".yml":
            # It takes a megabyte, also of a service whose table is no YAML.
            from opendify.configuration.yaml_text import parse_yaml

            table = parse_yaml(text, source)
        case ".toml":
            table = _parse_toml(text, source)
        case _:
            raise WrongValue("must name a file that ends in .json, .yaml, .yml or .toml")
    match table:
        # A model may be called "models"; its options tell.
        case {"models": dict(models), **others} if (
            not others and not {"api_key", "api_key_file"} & models.keys()
        ):
            return models
    return table


def read_secret_file(file: Path) -> str:
    """The file's text without the line end that editors add.

    Raises:
        WrongValue: It cannot be read, or is empty.
    """
    text = _read_file(file).rstrip("\r\n")
    if not text:
        raise WrongValue(f"names {shown(str(file))}, which is empty")
    return text


def _read_file(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise WrongValue(f"names {shown(str(file))}, which is not UTF-8 text") from None
    except (OSError, ValueError) as error:
        reason = (isinstance(error, OSError) and error.strerror) or "unusable path"
        raise WrongValue(f"names {shown(str(file))}, which cannot be read ({reason})") from None


def _parse_toml(text: str, source: str) -> object:
    import tomllib  # Few tables need it.

    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        found = re.search(r"line \d+, column \d+", str(error))
    position = found[0] if found else "its end"
    raise SettingsError(f"{source} is not valid TOML at {position}; names and values need quotes")


def refuse_repeats(names: Iterable[object], source: str) -> None:
    """Look that no name is written twice in one object.

    Raises:
        SettingsError: One is.
    """
    seen: set[object] = set()
    for name in names:
        if name in seen:
            raise SettingsError(f"{source} has {shown(str(name))} twice in one object")
        seen.add(name)
