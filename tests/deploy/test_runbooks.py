"""Every alert leads to a section that says what to do, in commands that exist."""

import re
import shlex
from collections.abc import Iterator
from typing import Final

import click
import pytest
import yaml

from opendify.cli import main
from opendify.settings import SETTINGS
from tests.fakes.programs import PROJECT
from tests.pages import CODE, DOCS, code_blocks

PAGE: Final = (DOCS / "runbooks.md").read_text(encoding="utf-8")
RULES: Final = PROJECT / "deploy/monitoring/rules/alerts.yml"
URL: Final = "https://github.com/opendify/opendify/blob/main/docs/runbooks.md"
NAMED: Final = CODE.findall(PAGE)
LINES: Final = [line for block in code_blocks(PAGE, "bash") for line in block.splitlines()]
# Of the system; the tests do not run them.
PROGRAMS: Final = {
    *("curl", "df", "docker-compose", "du", "free", "grep", "head", "journalctl", "kubectl", "ls", "nginx"),
    *("openssl", "systemctl", "top"),
}


def alerts() -> Iterator[tuple[str, str]]:
    """The name of each, and where it points."""
    for group in yaml.safe_load(RULES.read_text())["groups"]:
        for rule in group["rules"]:
            yield rule["alert"], rule["annotations"]["runbook_url"]


def our_commands() -> Iterator[list[str]]:
    """The words behind each `opendify` that begins a command."""
    for each in (*LINES, *NAMED):
        if found := re.fullmatch(r"(?:[A-Z_]+=\S+ )?opendify (\S.*)", each):
            yield shlex.split(found[1])


def test_every_alert_has_its_runbook_and_points_at_it() -> None:
    headings = re.findall(r"^## (\w+)$", PAGE, re.MULTILINE)

    assert headings == [name for name, _ in alerts()]
    # As GitHub makes anchors of headings.
    assert dict(alerts()) == {name: f"{URL}#{name.lower()}" for name in headings}


def test_every_runbook_says_what_to_see_and_what_to_do() -> None:
    for section in re.split(r"^## ", PAGE, flags=re.MULTILINE)[1:-1]:
        assert code_blocks(section, "bash"), section
        assert re.search(r"^- ", section, re.MULTILINE), section


@pytest.mark.parametrize("words", [*our_commands()], ids=" ".join)
def test_every_command_of_ours_exists(words: list[str]) -> None:
    command: click.Command = main
    for word in words:
        if isinstance(command, click.Group):
            command = command.commands[word]

    options = {option for parameter in command.params for option in parameter.opts}
    assert {word for word in words if word.startswith("--")} <= options


def test_every_other_program_is_one_of_the_system() -> None:
    programs = {part.split()[0] for line in LINES for part in re.split(r" \| | && ", line)}

    assert {each for each in programs if "/" not in each and each != "opendify"} <= PROGRAMS
    scripts = {each.removeprefix("/opt/opendify/").lstrip("./") for each in programs if "/" in each}
    assert [each for each in scripts if not (PROJECT / each).exists()] == []


def test_every_number_and_every_setting_that_is_named_exists() -> None:
    metrics = set(re.findall(r"opendify_\w+", (DOCS / "monitoring.md").read_text(encoding="utf-8")))
    settings = {variable for setting in SETTINGS for variable in setting.variables}

    assert {each for each in NAMED if each.startswith("opendify_")} <= metrics
    assert set(re.findall(r"grep (opendify_\w+)", PAGE)) <= metrics
    assert {each for each in NAMED if re.fullmatch(r"[A-Z]+(_[A-Z]+)+", each)} <= settings
