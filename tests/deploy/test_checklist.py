"""The checklist names what there is: files, and tests that exist."""

import ast
import re
from pathlib import Path
from typing import Final

import pytest

from tests.fakes.programs import PROJECT
from tests.pages import CODE, DOCS, table_rows

PAGE: Final = (DOCS / "deployment-checklist.md").read_text(encoding="utf-8")
ROWS: Final = table_rows(PAGE)
OUR_FILE: Final = re.compile(r"(?:\.?[\w-]+/)+[\w.-]*|[\w.-]+\.(?:sh|py|yml)")
TESTS: Final = sorted(
    {word for word in CODE.findall(PAGE) if word.startswith("tests/test_") or "/test_" in word}
)


def functions_of(file: Path) -> set[str]:
    return {each.name for each in ast.parse(file.read_text()).body if isinstance(each, ast.FunctionDef)}


@pytest.mark.parametrize("named", TESTS)
def test_a_test_that_is_named_exists(named: str) -> None:
    file, _, name = named.partition("::")

    assert (PROJECT / file).is_file()
    assert not name or name in functions_of(PROJECT / file)


def test_every_row_has_a_test_or_a_reason() -> None:
    assert [row for row in ROWS if not row[-1].strip()] == []


def test_every_file_that_is_named_exists() -> None:
    named = {word for row in ROWS for word in CODE.findall(row[-2]) if OUR_FILE.fullmatch(word)}

    assert len(named) > 30
    assert [name for name in sorted(named) if not (PROJECT / name).exists()] == []


def test_every_priority_is_one_of_three() -> None:
    priorities = {row[0].strip() for row in ROWS if len(row) == 4}

    assert priorities == {"P0", "P1", "P2"}
