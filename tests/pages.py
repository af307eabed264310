"""The pages that people read, and how to find things in their Markdown."""

import re
from pathlib import Path
from typing import Final

from opendify.settings import PROJECT_FOLDER

DOCS: Final = PROJECT_FOLDER / "docs"
CHINESE: Final = ".zh-CN.md"

FENCE: Final = re.compile(
    r"^ *```(?P<language>\w*)(?P<info>[^\n]*)\n(?P<text>.*?)^ *```$", re.MULTILINE | re.DOTALL
)
CODE: Final = re.compile(r"`([^`\n]+)`")
HEADING: Final = re.compile(r"^(#+) (.*)\n", re.MULTILINE)


def read_page(name: str) -> str:
    """`name` starts at the project's folder."""
    return (PROJECT_FOLDER / name).read_text(encoding="utf-8")


def twin_of(english: Path) -> Path:
    return english.with_name(english.name.removesuffix(".md") + CHINESE)


def english_pages() -> list[Path]:
    """The README, and every guide; `architecture.md` is for developers, who read English."""
    guides = [page for page in DOCS.rglob("*.md") if not page.name.endswith(CHINESE)]
    return [PROJECT_FOLDER / "README.md", *sorted(set(guides) - {DOCS / "architecture.md"})]


def page_id(page: Path) -> str:
    return page.relative_to(PROJECT_FOLDER).as_posix()


def code_blocks(text: str, language: str) -> list[str]:
    return [fence["text"] for fence in FENCE.finditer(text) if fence["language"] == language]


def without_remarks(command: str) -> str:
    return re.sub(r"(^|\s+)# .*", "", command)


def command_lines(block: str) -> list[str]:
    """Every command of a bash block on one line, without its remark."""
    lines = re.sub(r"\\\n\s*", "", block).splitlines()
    return [command for line in lines if (command := without_remarks(line))]


def commands(text: str) -> list[str]:
    """Every command of a page's bash blocks."""
    return command_lines("".join(code_blocks(text, "bash")))


def run_blocks(text: str) -> list[str]:
    """The bash blocks that are not marked as ```` ```bash manual ````."""
    return [
        fence["text"]
        for fence in FENCE.finditer(text)
        if fence["language"] == "bash" and "manual" not in fence["info"].split()
    ]


def code_words(text: str) -> set[str]:
    """What stands in backticks in the running text and the tables."""
    return set(CODE.findall(FENCE.sub("", text)))


def sections(text: str) -> list[str]:
    return HEADING.split(FENCE.sub("", text))[::3]


def heading_levels(text: str) -> list[int]:
    return [len(level) for level, _ in HEADING.findall(FENCE.sub("", text))]


def anchors(text: str) -> set[str]:
    """What a link to a heading may say after `#`: as GitHub makes it, and the site."""
    titles = (
        re.sub(r"\[([^]]+)\]\([^)]+\)", r"\1", title) for _, title in HEADING.findall(FENCE.sub("", text))
    )
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}


def section_below(text: str, heading: str) -> str:
    """The text from the first heading that holds `heading` to the next."""
    parts = HEADING.split(FENCE.sub("", text))
    (found,) = [body for title, body in zip(parts[2::3], parts[3::3], strict=True) if heading in title]
    return found


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
