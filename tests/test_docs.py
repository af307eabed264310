"""What the documentation says is what the code does, in both languages."""

import inspect
import json
import re
from itertools import pairwise
from pathlib import Path
from typing import Final

import flask
import pytest

from opendify import errors
from opendify.app import create_app
from opendify.configuration import model_table
from opendify.configuration.model_table import OPTIONS, DifyApp
from opendify.routes.operations import OPERATIONS
from opendify.settings import PROJECT_FOLDER, SETTINGS
from opendify.simulator import DEMO_MODELS
from opendify.translate.parameters import CHAT_COMPLETION_PARAMETERS, COMPLETION_PARAMETERS, Parameter
from opendify.translate.response_parameters import RESPONSE_PARAMETERS
from tests.fakes.settings import make_settings
from tests.pages import (
    CODE,
    DOCS,
    FENCE,
    anchors,
    code_blocks,
    code_words,
    command_lines,
    english_pages,
    heading_levels,
    page_id,
    read_page,
    run_blocks,
    section_below,
    sections,
    table_rows,
    twin_of,
    untranslated,
    without_remarks,
)
from tests.readme_tables import PAGES, TABLES, budgets, with_tables

ARCHITECTURE: Final = read_page("docs/architecture.md")
# The pages whose tables are the reference, so that every number in them must be the same in both languages.
REFERENCES: Final = ("configuration", "api", "responses", "troubleshooting", "production")
LINK: Final = re.compile(r"\]\((?![a-z]+:)([^)#\s]*)(?:#([^)\s]+))?[^)]*\)")
ENDPOINT: Final = re.compile(r"(?:GET|POST|PUT|PATCH|DELETE) /\S*")

each_page = pytest.mark.parametrize("page", english_pages(), ids=page_id)
both_editions = pytest.mark.parametrize("edition", [".md", ".zh-CN.md"], ids=["English", "Chinese"])
every_file = pytest.mark.parametrize(
    "file", sorted([*PROJECT_FOLDER.glob("README*.md"), *DOCS.rglob("*.md")]), ids=page_id
)


@pytest.fixture
def app() -> flask.Flask:
    return create_app(make_settings())


def read_both(page: Path) -> tuple[str, str]:
    return page.read_text(encoding="utf-8"), twin_of(page).read_text(encoding="utf-8")


def first_cells(text: str) -> list[list[str]]:
    return [CODE.findall(row[0]) for row in table_rows(text)]


# What the code tells.


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_the_marked_tables_are_those_that_the_code_tells(page: Path) -> None:
    text = page.read_text(encoding="utf-8")

    assert with_tables(text) == text, "write them with: python -m tests.readme_tables"


def test_every_table_that_the_code_can_tell_is_marked_once() -> None:
    texts = "".join(page.read_text(encoding="utf-8") for page in PAGES)

    assert sorted(re.findall(r"<!-- table: ([\w-]+) -->", texts)) == sorted(TABLES)


def test_every_budget_is_longer_than_the_one_before_it() -> None:
    for earlier, later in pairwise(budgets()):
        assert earlier.group != later.group or earlier.seconds < later.seconds, (earlier, later)


@both_editions
def test_every_setting_has_its_row(edition: str) -> None:
    rows = [names for names in first_cells(read_page(f"docs/configuration{edition}")) if names[0].isupper()]

    assert sorted(rows) == sorted(list(setting.variables) for setting in SETTINGS)


@both_editions
def test_every_option_of_a_model_has_its_row(edition: str) -> None:
    rows = [names for names in first_cells(read_page(f"docs/configuration{edition}")) if names[0].islower()]

    assert sorted(rows) == sorted([option] for option in OPTIONS)


@both_editions
def test_an_option_s_row_names_its_default_and_every_choice(edition: str) -> None:
    rows = {CODE.findall(row[0])[0]: row for row in table_rows(read_page(f"docs/configuration{edition}"))}
    choices = {
        "reasoning": model_table.REASONINGS,
        "steps": model_table.STEPS,
        "citations": model_table.CITATION_STYLES,
        "files": model_table.FILES,
        "fallback_on": model_table.FALLBACK_ONS,
        "on_disconnect": ("stop", "continue"),
        "mode": model_table.APP_MODES,
        "system": ("auto", "query", "off"),
    }

    for option, words in choices.items():
        default = getattr(DifyApp(name="a", api_key="b", api_base="c"), option)
        assert set(words) <= set(CODE.findall("".join(rows[option]))), option
        assert CODE.findall(rows[option][1]) == ([default] if default else []), option


@both_editions
def test_the_endpoints_are_the_routes_of_the_app(edition: str, app: flask.Flask) -> None:
    routes = {
        f"{method} {re.sub(r'<(?:[a-z]+:)?[a-z_]+>', '{id}', rule.rule)}"
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    named = {word for word in code_words(read_page(f"docs/api{edition}")) if ENDPOINT.fullmatch(word)}

    assert named == routes


@both_editions
@pytest.mark.parametrize(
    ("page", "endpoint", "parameters"),
    [
        ("api", "/v1/chat/completions", CHAT_COMPLETION_PARAMETERS),
        ("api", "/v1/completions", COMPLETION_PARAMETERS),
        ("responses", "/v1/responses", RESPONSE_PARAMETERS),
    ],
)
def test_every_parameter_is_named_where_it_belongs(
    edition: str, page: str, endpoint: str, parameters: tuple[Parameter, ...]
) -> None:
    section = section_below(read_page(f"docs/{page}{edition}"), f"`{endpoint}`")

    assert first_cells(section) == [[parameter.name] for parameter in parameters]


def test_a_parameter_is_treated_alike_in_both_editions() -> None:
    words = {"honoured": "有效", "ignored": "忽略", "refused in part": "部分拒绝"}
    parameters = (*CHAT_COMPLETION_PARAMETERS, *COMPLETION_PARAMETERS, *RESPONSE_PARAMETERS)
    treatments = [each.treatment for each in parameters]
    pages = ("docs/api.zh-CN.md", "docs/responses.zh-CN.md")
    rows = [row for page in pages for row in table_rows(read_page(page))]
    translated = [row[1].strip() for row in rows if row[1].strip() in words.values()]

    assert translated == [words[treatment] for treatment in treatments]


def codes_given_by_hand() -> set[str]:
    """Every `code="…"` in the code of the service: finer codes of an error's class."""
    modules = [
        module for module in (PROJECT_FOLDER / "opendify").rglob("*.py") if "simulator" not in module.parts
    ]
    return {code for module in modules for code in re.findall(r'\bcode="(\w+)"', module.read_text())}


def codes_of_classes() -> set[str]:
    kinds = [kind for _, kind in inspect.getmembers(errors, inspect.isclass)]
    return {kind.code for kind in kinds if issubclass(kind, errors.GatewayError) and kind.code}


@both_editions
def test_every_error_code_is_named_with_its_status(edition: str) -> None:
    assert codes_of_classes() - code_words(read_page(f"docs/api{edition}")) == set()


@both_editions
def test_every_error_code_has_one_row_that_says_what_to_do(edition: str) -> None:
    rows = [row for row in table_rows(read_page(f"docs/troubleshooting{edition}")) if len(row) == 3]
    named = [code for row in rows for code in CODE.findall(row[0])]

    assert {*codes_of_classes(), *codes_given_by_hand()} - set(named) == set()
    assert len(named) == len(set(named))
    assert all(cell.strip() for row in rows for cell in row)


# Which page tells of the endpoints of each group.
TOPICS: Final = {
    "Chats and completions": "api",
    "Responses": "responses",
    "Files": "files",
    "Speech": "audio",
    "Dify's extras": "dify-extras",
    "For operators": "conversations",
}


@both_editions
@pytest.mark.parametrize(("tag", "page"), TOPICS.items())
def test_every_field_of_a_request_is_named_on_its_page(edition: str, tag: str, page: str) -> None:
    operations = [each for each in OPERATIONS.values() if each.tag == tag]
    shapes = [shape for each in operations for shape in (each.body, each.form, each.query) if shape]
    fields = {name for shape in shapes for name in (shape.model_fields if isinstance(shape, type) else shape)}
    words = re.findall(r"\w+", " ".join(code_words(read_page(f"docs/{page}{edition}"))))

    assert fields - set(words) == set()


@both_editions
def test_every_demo_model_is_named(edition: str) -> None:
    assert [name for name in DEMO_MODELS if name not in read_page(f"README{edition}")] == []


# Two editions of one page.


def test_every_page_has_both_editions() -> None:
    english = {page for page in english_pages() if page != DOCS / "architecture.md"}
    chinese = {*DOCS.rglob("*.zh-CN.md"), PROJECT_FOLDER / "README.zh-CN.md"}

    assert {twin_of(page) for page in english} == chinese


@each_page
def test_both_editions_have_the_same_headings(page: Path) -> None:
    english, chinese = read_both(page)

    assert heading_levels(chinese) == heading_levels(english)


@each_page
def test_both_editions_show_the_same_examples(page: Path) -> None:
    def examples(text: str) -> list[tuple[str, str, str]]:
        return [
            (each["language"], each["info"], without_remarks(each["text"])) for each in FENCE.finditer(text)
        ]

    english, chinese = read_both(page)

    assert examples(chinese) == examples(english)


@each_page
def test_each_section_names_the_same_things_in_both_editions(page: Path) -> None:
    english, chinese = read_both(page)

    assert [code_words(section) for section in sections(chinese)] == [
        code_words(section) for section in sections(english)
    ]


@pytest.mark.parametrize("name", REFERENCES)
def test_the_reference_tables_say_the_same_in_both_editions(name: str) -> None:
    english, chinese = read_both(DOCS / f"{name}.md")

    assert [[untranslated(cell) for cell in row] for row in table_rows(chinese)] == [
        [untranslated(cell) for cell in row] for row in table_rows(english)
    ]


# Links and commands.


@every_file
def test_every_relative_link_points_to_something(file: Path) -> None:
    text = FENCE.sub("", file.read_text(encoding="utf-8"))
    wrong = []
    for link, anchor in LINK.findall(text):
        target = file.parent / link if link else file
        if not target.exists():
            wrong.append(link)
        elif anchor and anchor not in anchors(target.read_text(encoding="utf-8")):
            wrong.append(f"{link}#{anchor}")

    assert wrong == []


@each_page
def test_a_chinese_page_links_to_chinese_pages(page: Path) -> None:
    chinese = twin_of(page)
    text = FENCE.sub("", chinese.read_text(encoding="utf-8"))
    targets = [chinese.parent / link for link, _ in LINK.findall(text) if link.endswith(".md")]

    assert [each.name for each in targets if each.resolve() != page and twin_of(each).exists()] == []


@each_page
def test_every_command_is_run_by_a_test_or_marked_manual(page: Path) -> None:
    if page.name == "README.md":
        return  # Its commands have a test of their own.
    blocks = run_blocks(page.read_text(encoding="utf-8"))
    known = re.compile(r"(curl|opendify) ")
    strange = [line for block in blocks for line in command_lines(block) if not known.match(line)]

    assert strange == [], "tests/docs/test_commands.py runs these; write ```bash manual where it cannot"


@each_page
def test_an_example_of_a_model_table_is_accepted(page: Path) -> None:
    for block in code_blocks(page.read_text(encoding="utf-8"), "json"):
        if '"api_key"' in block:
            table = json.loads(block.replace("…", "made-up"))
            assert model_table.read_models(table, page.name, "https://dify.example/v1")


# The architecture.


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
