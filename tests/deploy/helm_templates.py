"""Renders what the chart uses of Helm's language: values, `if`, `range`, some functions, and no more."""

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import yaml

_ACTION: Final = re.compile(r"(?:\s*\{\{-|\{\{)\s*(.*?)\s*(?:-\}\}\s*|\}\})", re.DOTALL)
_ATOM: Final = re.compile(r'"[^"]*"|\S+')
_RANGE: Final = re.compile(r"range (\$\w+), (\$\w+) := (.+)")

Scope = Mapping[str, Any]


def to_yaml(value: object) -> str:
    """As Helm's: keys in order, no newline at the end."""
    return str(yaml.safe_dump(value, default_flow_style=False)).removesuffix("\n")


def _indented(width: int, text: str) -> str:
    return "\n" + "\n".join(" " * width + line for line in text.splitlines())


_FUNCTIONS: Final[Mapping[str, Callable[..., object]]] = {
    "toYaml": to_yaml,
    "nindent": _indented,
    "quote": json.dumps,
    "sha256sum": lambda text: hashlib.sha256(text.encode()).hexdigest(),
    "eq": lambda one, other: one == other,
}


def render(template: str, *, values: Mapping[str, Any], release: str) -> str:
    """The text that Helm would make of one file."""
    scope = {".Values": values, ".Release": {"Name": release}}
    parts = iter(_parts(template))
    text = "".join(_block(parts, scope))
    assert next(parts, None) is None, "an `end` too many"
    return text


@dataclass(frozen=True)
class _Part:
    text: str
    is_action: bool


def _parts(template: str) -> Iterator[_Part]:
    end = 0
    for action in _ACTION.finditer(template):
        yield _Part(template[end : action.start()], False)
        yield _Part(action[1], True)
        end = action.end()
    yield _Part(template[end:], False)


def _block(parts: Iterator[_Part], scope: Scope) -> Iterator[str]:
    """Up to the `end` that belongs to it, or the end of all."""
    for part in parts:
        if not part.is_action:
            yield part.text
        elif part.text == "end":
            return
        elif part.text.startswith("if "):
            inner = "".join(_block(parts, scope))
            yield inner if _evaluate(part.text.removeprefix("if "), scope) else ""
        elif looped := _RANGE.fullmatch(part.text):
            yield from _repeated(_until_end(parts), looped, scope)
        else:
            yield str(_evaluate(part.text, scope))


def _until_end(parts: Iterator[_Part]) -> Sequence[_Part]:
    """The parts of a loop, in which there is no further block."""
    inner: list[_Part] = []
    while (part := next(parts)).text != "end":
        inner.append(part)
    return inner


def _repeated(inner: Sequence[_Part], looped: re.Match[str], scope: Scope) -> Iterator[str]:
    key, value, over = looped.groups()
    for name, each in sorted(_evaluate(over, scope).items()):
        yield from _block(iter(inner), {**scope, key: name, value: each})


def _evaluate(expression: str, scope: Scope) -> Any:
    """A pipeline: what one function gives is the last argument of the next."""
    piped: list[object] = []
    for command in expression.split(" | "):
        first, *rest = _ATOM.findall(command)
        arguments = [*(_atom(each, scope) for each in rest), *piped]
        piped = [_FUNCTIONS[first](*arguments) if first in _FUNCTIONS else _atom(first, scope)]
    return piped[0]


def _atom(word: str, scope: Scope) -> Any:
    if word.startswith('"'):
        return word[1:-1]
    if word.isdigit():
        return int(word)
    if word.startswith("$"):
        return scope[word]
    root, *path = word.removeprefix(".").split(".")
    value = scope[f".{root}"]
    for name in path:
        value = value[name]
    return value
