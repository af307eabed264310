"""What the guides for operators say is what the commands, the routes and the settings take."""

import re
import shlex
from pathlib import Path
from typing import Final

import click
import flask
import pytest

from opendify.app import create_app
from opendify.cli import main
from opendify.configuration.replay_templates import read_replay_templates
from opendify.settings import PROJECT_FOLDER, SETTINGS, load_settings

GUIDES: Final = ("conversations", "open-webui")
FENCE = re.compile(r"^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"`([^`\n]+)`")
# Open WebUI's own.
NOT_OURS: Final = ("ENABLE_", "FORWARD_", "TASK_MODEL_")

both_guides = pytest.mark.parametrize("guide", GUIDES)


def text(guide: str, edition: str = "") -> str:
    return (PROJECT_FOLDER / f"docs/{guide}{edition}.md").read_text(encoding="utf-8")


def blocks(guide: str, language: str, edition: str = "") -> list[str]:
    return [found["text"] for found in FENCE.finditer(text(guide, edition)) if found["language"] == language]


def words(guide: str, edition: str = "") -> list[str]:
    return sorted(CODE.findall(FENCE.sub("", text(guide, edition))))


def commands() -> list[str]:
    lines = re.sub(r"\\\n\s*", "", "".join(blocks("conversations", "bash"))).splitlines()
    return sorted({line for line in lines if line.startswith("opendify ")})


@both_guides
def test_both_editions_name_the_same_things(guide: str) -> None:
    assert words(guide, ".zh-CN") == words(guide)


@both_guides
@pytest.mark.parametrize("language", ["bash", "ini", "json", "yaml"])
def test_both_editions_show_the_same_examples(guide: str, language: str) -> None:
    assert blocks(guide, language, ".zh-CN") == blocks(guide, language)


@both_guides
def test_both_editions_have_the_same_headings(guide: str) -> None:
    english, chinese = (
        [
            len(line.split(" ")[0])
            for line in FENCE.sub("", text(guide, edition)).splitlines()
            if line[:1] == "#"
        ]
        for edition in ("", ".zh-CN")
    )

    assert chinese == english


@pytest.mark.parametrize("command", commands())
def test_a_command_has_the_options_and_arguments_that_are_shown(command: str) -> None:
    arguments, found = shlex.split(command)[1:], _command(main)
    while isinstance(found, click.Group):
        found = _command(found.commands[arguments.pop(0)])

    # The files that it names are not there; all else is read as ever.
    with found.make_context(command, arguments, resilient_parsing=True) as context:
        assert context.args == []


def _command(command: click.Command) -> click.Command:
    return command


@pytest.mark.parametrize("number", [0, 1], ids=["English", "Chinese"])
def test_the_replay_templates_are_accepted(number: int, tmp_path: Path) -> None:
    file = tmp_path / "templates.yaml"
    file.write_text(blocks("conversations", "yaml")[number], encoding="utf-8")

    wordings = read_replay_templates(str(file))

    assert set(wordings) == {"system", "history", "query", "user", "assistant", "tool", "omitted"}
    assert "\n{text}" in wordings["history"]


def test_every_admin_route_is_described_and_no_other(tmp_path: Path) -> None:
    settings = load_settings(
        {"MODEL_CONFIG": '{"any": "app-1"}', "DIFY_API_BASE": "http://127.0.0.1:9", "DATA_DIR": str(tmp_path)}
    )
    app: flask.Flask = create_app(settings)
    rules = [rule for rule in app.url_map.iter_rules() if rule.rule.startswith("/v1/conversation/")]
    routes = {
        f"{method} {_with_plain_names(rule.rule)}"
        for rule in rules
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }

    assert {word for word in words("conversations") if " /v1/conversation/" in word} == routes


def _with_plain_names(rule: str) -> str:
    return re.sub(r"<(?:[a-z]+:)?(?:stored_)?([a-z]+)>", r"{\1}", rule)


@both_guides
def test_every_setting_that_is_named_exists(guide: str) -> None:
    ours = {variable for each in SETTINGS for variable in each.variables}
    named = {word for word in words(guide) if re.fullmatch(r"[A-Z]+(_[A-Z]+)+", word)}
    named |= {
        name for block in blocks(guide, "ini") for name in re.findall(r"^([A-Z_]+)=", block, re.MULTILINE)
    }

    assert {name for name in named if not name.startswith(NOT_OURS)} <= ours
