"""The tables of the README that the code itself can tell; `python -m tests.readme_tables` writes them."""

import inspect
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from opendify import errors
from opendify.errors import GatewayError
from opendify.settings import SETTINGS
from opendify.translate.parameters import CHAT_COMPLETION_PARAMETERS, COMPLETION_PARAMETERS, Parameter

PROJECT = Path(__file__).parent.parent
_MARKED = re.compile(r"(<!-- table: (?P<name>[\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    head = list(head)
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)


def _parameters(parameters: Iterable[Parameter]) -> str:
    return _table(
        ("parameter", "", "note"), ((f"`{each.name}`", each.treatment, each.note) for each in parameters)
    )


def _settings() -> str:
    def default(value: str, in_development: str | None) -> str:
        shown = f"`{value}`" if value else ""
        return f"{shown} (development: `{in_development}`)" if in_development else shown

    return _table(
        ("setting", "default", "meaning"),
        (
            (
                " or ".join(f"`{name}`" for name in each.variables),
                default(each.default, each.development_default),
                each.description,
            )
            for each in SETTINGS
        ),
    )


def _errors() -> str:
    kinds = [
        kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, GatewayError)
    ]
    shown = sorted((kind for kind in kinds if kind is not GatewayError), key=lambda kind: kind.status)
    rows = {(kind.status, kind.type, kind.code or ""): kind for kind in reversed(shown)}
    return _table(
        ("status", "`type`", "`code`", "when", "retry advice"),
        (
            (
                str(status),
                f"`{type_}`",
                f"`{code}`" if code else "varies",
                _first_sentence(kind),
                _advice(kind),
            )
            for (status, type_, code), kind in sorted(rows.items())
        ),
    )


def _first_sentence(kind: type[GatewayError]) -> str:
    return (inspect.getdoc(kind) or "").partition(".")[0]


def _advice(kind: type[GatewayError]) -> str:
    if kind.retry_after_seconds:
        return "`Retry-After`"
    return "" if kind.should_retry is None else f"`x-should-retry: {str(kind.should_retry).lower()}`"


TABLES: Mapping[str, Callable[[], str]] = {
    "chat-completion-parameters": lambda: _parameters(CHAT_COMPLETION_PARAMETERS),
    "completion-parameters": lambda: _parameters(COMPLETION_PARAMETERS),
    "errors": _errors,
    "settings": _settings,
}


def with_tables(text: str) -> str:
    """`text` with every marked table as the code tells it today."""
    return _MARKED.sub(lambda match: f"{match[1]}{TABLES[match['name']]()}{match[3]}", text)


if __name__ == "__main__":
    readme = PROJECT / "README.md"
    readme.write_text(with_tables(readme.read_text()))
