"""What the documentation says is what the code does, in both languages."""

import inspect
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final

import flask
import httpx
import pytest

from opendify import errors
from opendify.access.keys import KeyRing
from opendify.app import create_app
from opendify.configuration.model_table import OPTIONS, read_models
from opendify.settings import PROJECT_FOLDER, SETTINGS, load_environment, load_settings
from opendify.simulator import DEMO_MODELS, SimulatorOptions, create_simulator
from opendify.translate.parameters import CHAT_COMPLETION_PARAMETERS, COMPLETION_PARAMETERS, Parameter
from tests.fakes.served_app import served
from tests.fakes.settings import make_settings
from tests.readme_tables import TABLES, budgets, with_tables

ENGLISH: Final = (PROJECT_FOLDER / "README.md").read_text(encoding="utf-8")
CHINESE: Final = (PROJECT_FOLDER / "README.zh-CN.md").read_text(encoding="utf-8")
ARCHITECTURE: Final = (PROJECT_FOLDER / "docs/architecture.md").read_text(encoding="utf-8")
DOCS: Final = PROJECT_FOLDER / "docs"
GUIDES: Final = sorted(
    guide.relative_to(DOCS).as_posix().removesuffix(".zh-CN.md") for guide in DOCS.rglob("*.zh-CN.md")
)
LINKING: Final = [PROJECT_FOLDER / "README.md", PROJECT_FOLDER / "README.zh-CN.md"]

# Commands that this file does not run, and the file that does.
RUN_ELSEWHERE: Final[Mapping[str, str]] = {
    "git clone https://github.com/opendify/opendify.git && cd opendify": ".ci/first_start.py",
    "./start_development.sh": "tests/packaging/test_scripts.py",
    "./start_production.sh": "tests/packaging/test_scripts.py",
    "./run_tests.sh": ".ci/run",
    "bash .ci/run": "tests/packaging/test_scripts.py",
}

FENCE = re.compile(r"^ *```(?P<language>\w*)\n(?P<text>.*?)^ *```$", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\]\((?![a-z]+:|#)([^)#\s]+)[^)]*\)")
ENDPOINT = re.compile(r"(?:GET|POST|PUT|PATCH|DELETE) /\S*")
HEADING = re.compile(r"^(#+) .*\n", re.MULTILINE)

each_guide = pytest.mark.parametrize(
    ("english", "chinese"),
    [
        tuple((DOCS / f"{guide}{edition}.md").read_text(encoding="utf-8") for edition in ("", ".zh-CN"))
        for guide in GUIDES
    ],
    ids=GUIDES,
)
both_editions = pytest.mark.parametrize("readme", [ENGLISH, CHINESE], ids=["English", "Chinese"])


def code_blocks(text: str, language: str) -> list[str]:
    return [fence["text"] for fence in FENCE.finditer(text) if fence["language"] == language]


def without_remarks(command: str) -> str:
    return re.sub(r"(^|\s+)# .*", "", command)


def commands(text: str) -> list[str]:
    """Every command of the bash blocks on one line, without its remark."""
    lines = re.sub(r"\\\n\s*", "", "".join(code_blocks(text, "bash"))).splitlines()
    return [command for line in lines if (command := without_remarks(line))]


def code_words(text: str) -> set[str]:
    """What stands in backticks in the running text and the tables."""
    return set(CODE.findall(FENCE.sub("", text)))


def sections(text: str) -> list[str]:
    return HEADING.split(FENCE.sub("", text))[::2]


def table_rows(text: str) -> list[list[str]]:
    """The cells of all tables, without heads."""
    lines = [line for line in FENCE.sub("", text).splitlines() if line.startswith("|")]
    rows = [re.split(r"(?<!\\)\|", line)[1:-1] for line in lines]
    rules = [number for number, line in enumerate(lines) if set(line) <= set("|- ")]
    heads = {number - offset for number in rules for offset in (0, 1)}
    return [row for number, row in enumerate(rows) if number not in heads]


def untranslated(cell: str) -> list[str]:
    """What of a table's cell is the same in every language: code, and numbers."""
    return sorted([*CODE.findall(cell), *re.findall(r"\d+", CODE.sub("", cell))])


def endpoints(readme: str) -> set[str]:
    return {word for word in code_words(readme) if ENDPOINT.fullmatch(word)}


def parameters_in(readme: str, endpoint: str) -> list[str]:
    """The first column of the table below the heading that names `endpoint`."""
    (section,) = re.findall(rf"^### .*`{endpoint}`.*\n((?:[^#\n].*\n|\n)*)", readme, re.MULTILINE)
    return [untranslated(row[0])[0] for row in table_rows(section)]


def test_the_marked_tables_are_those_that_the_code_tells() -> None:
    assert with_tables(ENGLISH) == ENGLISH


def test_every_table_that_the_code_can_tell_is_marked() -> None:
    assert set(re.findall(r"<!-- table: ([\w-]+) -->", ENGLISH)) == set(TABLES)


def test_every_budget_is_longer_than_the_one_before_it() -> None:
    for earlier, later in pairwise(budgets()):
        assert earlier.group != later.group or earlier.seconds < later.seconds, (earlier, later)


@both_editions
def test_every_setting_is_named(readme: str) -> None:
    variables = {variable for setting in SETTINGS for variable in setting.variables}

    assert variables - code_words(readme) == set()


@both_editions
def test_the_endpoints_are_the_routes_of_the_app(readme: str, app: flask.Flask) -> None:
    routes = {
        f"{method} {re.sub(r'<(?:[a-z]+:)?[a-z_]+>', '{id}', rule.rule)}"
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }

    assert endpoints(readme) == routes


@both_editions
@pytest.mark.parametrize(
    ("endpoint", "parameters"),
    [("/v1/chat/completions", CHAT_COMPLETION_PARAMETERS), ("/v1/completions", COMPLETION_PARAMETERS)],
)
def test_every_parameter_is_named_where_it_belongs(
    readme: str, endpoint: str, parameters: tuple[Parameter, ...]
) -> None:
    assert parameters_in(readme, endpoint) == [parameter.name for parameter in parameters]


@both_editions
def test_every_error_code_is_named(readme: str) -> None:
    kinds = [kind for _, kind in inspect.getmembers(errors, inspect.isclass)]
    codes = {kind.code for kind in kinds if issubclass(kind, errors.GatewayError) and kind.code}

    assert codes - code_words(readme) == set()


@both_editions
def test_every_option_of_a_model_is_named(readme: str) -> None:
    assert set(OPTIONS) - code_words(readme) == set()


@both_editions
def test_every_demo_model_is_named(readme: str) -> None:
    assert [name for name in DEMO_MODELS if name not in readme] == []


def test_the_editions_have_the_same_headings() -> None:
    assert [len(level) for level in HEADING.findall(FENCE.sub("", ENGLISH))] == [
        len(level) for level in HEADING.findall(FENCE.sub("", CHINESE))
    ]


def test_the_editions_show_the_same_commands() -> None:
    assert commands(CHINESE) == commands(ENGLISH)


@pytest.mark.parametrize("language", ["ini", "json", "python"])
def test_the_editions_show_the_same_examples(language: str) -> None:
    assert code_blocks(CHINESE, language) == code_blocks(ENGLISH, language)


def test_the_editions_show_no_other_kinds_of_examples() -> None:
    languages = {fence["language"] for edition in (ENGLISH, CHINESE) for fence in FENCE.finditer(edition)}

    assert languages == {"bash", "ini", "json", "python"}


def test_each_section_names_the_same_things_in_both_editions() -> None:
    assert [code_words(section) for section in sections(CHINESE)] == [
        code_words(section) for section in sections(ENGLISH)
    ]


def test_the_tables_say_the_same_in_both_editions() -> None:
    assert [[untranslated(cell) for cell in row] for row in table_rows(CHINESE)] == [
        [untranslated(cell) for cell in row] for row in table_rows(ENGLISH)
    ]


@each_guide
def test_a_guide_has_the_same_headings_in_both_editions(english: str, chinese: str) -> None:
    assert [len(level) for level in HEADING.findall(FENCE.sub("", chinese))] == [
        len(level) for level in HEADING.findall(FENCE.sub("", english))
    ]


@each_guide
def test_a_guide_shows_the_same_examples_in_both_editions(english: str, chinese: str) -> None:
    def examples(text: str) -> list[tuple[str, str]]:
        return [(fence["language"], without_remarks(fence["text"])) for fence in FENCE.finditer(text)]

    assert examples(chinese) == examples(english)


@each_guide
def test_each_section_of_a_guide_names_the_same_things_in_both_editions(english: str, chinese: str) -> None:
    assert [code_words(section) for section in sections(chinese)] == [
        code_words(section) for section in sections(english)
    ]


def test_every_guide_has_both_editions() -> None:
    for_developers = {"architecture.md"}
    guides = {guide.relative_to(DOCS).as_posix() for guide in DOCS.rglob("*.md")} - for_developers
    english = {name for name in guides if not name.endswith(".zh-CN.md")}

    assert guides - english == {name.replace(".md", ".zh-CN.md") for name in english}


def test_a_parameter_is_treated_alike_in_both_editions() -> None:
    words = {"honoured": "有效", "ignored": "忽略", "refused in part": "部分拒绝"}
    treatments = [each.treatment for each in (*CHAT_COMPLETION_PARAMETERS, *COMPLETION_PARAMETERS)]
    translated = [row[1].strip() for row in table_rows(CHINESE) if row[1].strip() in words.values()]

    assert translated == [words[treatment] for treatment in treatments]


@pytest.mark.parametrize(
    "document",
    [*LINKING, *sorted((PROJECT_FOLDER / "docs").rglob("*.md"))],
    ids=lambda document: document.name,
)
def test_every_relative_link_points_to_something(document: Path) -> None:
    links = LINK.findall(FENCE.sub("", document.read_text(encoding="utf-8")))

    assert [link for link in links if not (document.parent / link).exists()] == []


def test_the_architecture_names_every_room_and_no_other() -> None:
    package = PROJECT_FOLDER / "opendify"
    modules = {module.name for module in package.glob("*.py") if module.name != "__init__.py"}
    packages = {f"{module.parent.name}/" for module in package.glob("*/__init__.py")}
    (tree,) = [block for block in code_blocks(ARCHITECTURE, "") if "\nopendify/\n" in block]
    rooms = re.findall(r"^  (\S+)", tree.partition("\nopendify/\n")[2], re.MULTILINE)

    assert sorted(rooms) == sorted(modules | packages)


def test_every_file_that_the_architecture_names_exists() -> None:
    package = PROJECT_FOLDER / "opendify"
    named = [word for word in code_words(ARCHITECTURE) if re.fullmatch(r"[\w.*-]+(/[\w.*-]*)+", word)]
    folders = (PROJECT_FOLDER, package)
    missing = [
        name
        for name in named
        if not any([*folder.glob(name), *folder.glob(f"{name}.py")] for folder in folders)
    ]

    assert missing == []


@dataclass(frozen=True)
class Service:
    """The real app in front of a simulated Dify; `url` is without `/v1`."""

    url: str
    folder: Path

    def run(self, *command: str | Path) -> str:
        """What the command writes, when it ends well."""
        done = subprocess.run(
            command,
            cwd=self.folder,
            env={**os.environ, "NO_PROXY": "*"},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def moved_here(self, text: str) -> str:
        return text.replace("http://127.0.0.1:5000", self.url)


@pytest.fixture
def app() -> flask.Flask:
    return create_app(make_settings())


@pytest.fixture(scope="module")
def dify() -> Iterator[str]:
    """The address of a simulated Dify's API."""
    with served(create_simulator(SimulatorOptions(token_delay_seconds=0, naming_delay_seconds=0))) as url:
        yield f"{url}/v1"


@pytest.fixture
def service(dify: str, tmp_path: Path) -> Iterator[Service]:
    """As `./start_development.sh` serves when nothing is configured."""
    settings = load_settings(
        {
            "ENVIRONMENT": "development",
            "DIFY_API_BASE": dify,
            "MODEL_CONFIG": json.dumps(dict(DEMO_MODELS)),
            "DATA_DIR": str(tmp_path / "data"),
        }
    )
    with served(create_app(settings)) as url:
        yield Service(url, tmp_path)


@pytest.fixture
def service_with_a_key(dify: str, tmp_path: Path) -> Iterator[Service]:
    """As `./start_production.sh` serves the models of the example."""
    settings = load_settings(
        {
            "DIFY_API_BASE": dify,
            "MODEL_CONFIG": '{"translator": "app-demo-chat", "support": "app-demo-chat"}',
            "DATA_DIR": str(tmp_path / "data"),
        }
    )
    KeyRing(settings).first_key_files()
    with served(create_app(settings)) as url:
        yield Service(url, tmp_path)


CURLS = [command for command in commands(ENGLISH) if command.startswith("curl ")]
OPENDIFY = [command for command in commands(ENGLISH) if command.startswith(".venv/bin/")]
COPIES = [command for command in commands(ENGLISH) if command.startswith("cp ")]


def test_every_command_is_run_here_or_elsewhere() -> None:
    run_here = {*CURLS, *OPENDIFY, *COPIES}

    assert set(commands(ENGLISH)) - run_here == set(RUN_ELSEWHERE)


@pytest.mark.parametrize(("command", "file"), RUN_ELSEWHERE.items(), ids=lambda each: Path(each).name)
def test_what_is_run_elsewhere_is_known_there(command: str, file: str) -> None:
    program = "first curl" if command.startswith("git clone ") else command.removeprefix("bash ").lstrip("./")

    assert program in (PROJECT_FOLDER / file).read_text(encoding="utf-8")


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
@pytest.mark.parametrize("command", CURLS)
def test_a_request_with_curl_is_answered(command: str, service: Service) -> None:
    answer = json.loads(service.run("bash", "-c", service.moved_here(command)))

    assert answer["choices"][0]["message"]["content"].endswith("Hello")


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
@pytest.mark.parametrize("command", CURLS)
def test_a_request_with_curl_can_be_streamed_as_the_text_says(command: str, service: Service) -> None:
    streamed = (
        service.moved_here(command).replace('{"model"', '{"stream": true, "model"').replace("curl", "curl -N")
    )

    assert service.run("bash", "-c", streamed).endswith("data: [DONE]\n\n")


@pytest.mark.parametrize("model", DEMO_MODELS)
def test_every_demo_model_answers(model: str, service: Service) -> None:
    body = {"model": model, "messages": [{"role": "user", "content": "Hello"}]}
    answer = httpx.post(f"{service.url}/v1/chat/completions", json=body, trust_env=False)

    assert answer.json()["choices"][0]["message"]["content"].endswith("Hello")


@pytest.mark.parametrize("example", code_blocks(ENGLISH, "python"))
def test_the_python_example_prints_an_answer(example: str, service_with_a_key: Service) -> None:
    printed = service_with_a_key.run(sys.executable, "-c", service_with_a_key.moved_here(example))

    assert "Good morning" in printed


@pytest.mark.parametrize("command", OPENDIFY)
def test_the_opendify_command_explains_itself(command: str, tmp_path: Path) -> None:
    program, *arguments = command.split()
    said = Service("", tmp_path).run(Path(sys.executable).parent / Path(program).name, *arguments)

    assert said.startswith("Usage: opendify simulate")


@pytest.mark.parametrize("command", COPIES)
def test_the_copied_settings_with_the_two_lines_filled_in_are_accepted(command: str, tmp_path: Path) -> None:
    shutil.copy(PROJECT_FOLDER / ".env.example", tmp_path)
    Service("", tmp_path).run("bash", "-c", command)
    (lines,) = code_blocks(ENGLISH, "ini")
    with (tmp_path / ".env").open("a", encoding="utf-8") as file:
        file.write(lines.replace("…", "made-up"))

    settings = load_settings(load_environment(tmp_path / ".env", {}))

    assert [model.name for model in settings.models] == ["translator", "support"]


def test_the_example_of_a_model_with_options_is_accepted() -> None:
    (table,) = code_blocks(ENGLISH, "json")

    (model,) = read_models(json.loads(table.replace("…", "made-up")), "README.md", "https://dify.example/v1")

    assert (model.name, model.aliases, model.inputs) == ("support", ("gpt-4o",), {"language": "German"})
