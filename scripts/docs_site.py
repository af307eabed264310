"""Builds `docs/` as a site in `build/site`: a tree of pages a language, each with a search of its own.

    uv run --isolated --frozen --only-group docs python scripts/docs_site.py

The pages lie in `docs/` as people read them in the repository: `page.md` and `page.zh-CN.md` beside it.
Here they are copied to where the generator wants them, with their links turned to what a site has.
A link or an anchor that leads nowhere fails the build. New pages appear by themselves: those of a folder
as a section, others at the end of the last section.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

PROJECT: Final = Path(__file__).resolve().parent.parent
DOCS: Final = PROJECT / "docs"
BUILD: Final = PROJECT / "build"
SITE: Final = BUILD / "site"
REPOSITORY: Final = "https://github.com/opendify/opendify"

# Names of settings and codes are read whole.
STYLE: Final = ".md-typeset td:first-child code { white-space: nowrap; }\n"
FENCE: Final = re.compile(r"(^ *```.*?^ *```$)", re.MULTILINE | re.DOTALL)
LINK: Final = re.compile(
    r"(?P<image>!?)\[(?P<text>[^\]]*)\]\((?!\w+:|#)(?P<target>[^)#\s]+)(?P<anchor>#[^)\s]+)?\)"
)


@dataclass(frozen=True)
class Language:
    """`suffix` stands before `.md`, `home` is where its tree begins in the site."""

    code: str
    name: str
    suffix: str
    home: str
    sections: Mapping[str, tuple[str, ...]]
    clients: str
    each_client: str

    def owns(self, page: Path) -> bool:
        return page.stem.endswith(".zh-CN") == bool(self.suffix)

    def name_of(self, page: Path) -> str:
        """`clients/chatbox.md` for either language's file."""
        return page.relative_to(DOCS).as_posix().removesuffix(".md").removesuffix(self.suffix) + ".md"


START: Final = ("index.md", "configuration.md", "keys-and-limits.md", "migration.md", "troubleshooting.md")
USE: Final = (
    "api.md",
    "conversations.md",
    "attachments.md",
    "files.md",
    "audio.md",
    "thoughts-and-steps.md",
    "dify-extras.md",
)
BEFORE_CLIENTS: Final = ("clients.md", "open-webui.md")
RUN: Final = ("production.md", "deployment.md", "scaling.md", "security.md", "monitoring.md", "logging.md")
ENGLISH: Final = Language(
    "en",
    "English",
    "",
    "",
    {"Start": START, "Use": USE, "Run": (*RUN, "architecture.md")},
    "Clients",
    "Each client",
)
CHINESE: Final = Language(
    "zh", "简体中文", ".zh-CN", "zh-CN/", {"开始": START, "使用": USE, "运行": RUN}, "客户端", "各个客户端"
)
LANGUAGES: Final = (ENGLISH, CHINESE)
# Anchors as GitHub makes them, so that a link is good in both places.
AS_GITHUB: Final = {"object": "pymdownx.slugs.slugify", "kwds": {"case": "lower"}}


def main() -> None:
    """Build all languages, or end with the generator's exit code."""
    shutil.rmtree(SITE, ignore_errors=True)
    for language in LANGUAGES:
        folder = BUILD / "docs" / language.code
        shutil.rmtree(folder, ignore_errors=True)
        pages = sorted(page for page in DOCS.rglob("*.md") if language.owns(page))
        copy_pages(pages, language, folder)
        (folder / "site.css").write_text(STYLE, encoding="utf-8")
        config = BUILD / f"mkdocs.{language.code}.yml"
        # JSON is YAML.
        config.write_text(json.dumps(configuration(pages, language), ensure_ascii=False), encoding="utf-8")
        zensical = Path(sys.executable).with_name("zensical")
        built = subprocess.run([zensical, "build", "--strict", "--config-file", config], check=False)
        if built.returncode:
            sys.exit(built.returncode)
    print(f"built: {SITE.relative_to(PROJECT)}/index.html")


def copy_pages(pages: Iterable[Path], language: Language, target: Path) -> None:
    for page in pages:
        copy = target / language.name_of(page)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(for_the_site(page, language), encoding="utf-8")
    for file in DOCS.rglob("*"):
        if file.is_file() and file.suffix != ".md":
            copy = target / file.relative_to(DOCS)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, copy)


def for_the_site(page: Path, language: Language) -> str:
    """The page as the generator reads it, which is stricter about blank lines than GitHub."""
    parts = FENCE.split(page.read_text(encoding="utf-8"))
    for number, part in enumerate(parts):
        if number % 2:
            parts[number] = re.sub(r"^( *```\w*) [^\n]*", r"\1", part)
        else:
            text = re.sub(r"^<!-- .* -->\n", "", part, flags=re.MULTILINE)
            text = re.sub(r"^(?!- |\d+\. |\s|$)(.*)\n(?=- |1\. )", r"\1\n\n", text, flags=re.MULTILINE)
            parts[number] = LINK.sub(lambda link: site_link(link, page, language), text)
    return "".join(parts)


def site_link(link: re.Match[str], page: Path, language: Language) -> str:
    target = (page.parent / link["target"]).resolve()
    anchor = link["anchor"] or ""
    if not target.is_relative_to(DOCS):
        kind = "tree" if target.is_dir() else "blob"
        where = target.relative_to(PROJECT).as_posix()
        return f"[{link['text']}]({REPOSITORY}/{kind}/main/{where}{anchor})"
    if target.suffix != ".md":
        return link[0]
    other = next(each for each in LANGUAGES if each.owns(target))
    if other is not language:
        # The generator takes it as relative to the page's file.
        up = "../" * (language.home + language.name_of(page)).count("/")
        return f'<a href="{up}{address(target, other)}{anchor}">{link["text"]}</a>'
    here = (DOCS / language.name_of(page)).parent
    there = os.path.relpath(DOCS / language.name_of(target), here)
    return f"[{link['text']}]({there}{anchor})"


def address(page: Path, language: Language) -> str:
    """`zh-CN/conversations/`, from the site's root."""
    name = language.name_of(page).removesuffix(".md")
    return language.home + ("" if name == "index" else f"{name.removesuffix('/index')}/")


def navigation(pages: Iterable[Path], language: Language) -> Iterator[dict[str, list[object]]]:
    names = [language.name_of(page) for page in pages]
    placed = {name for section in language.sections.values() for name in section}
    clients = [name for name in names if name.startswith("clients/")]
    others = [name for name in names if name not in (*placed, *clients, *BEFORE_CLIENTS)]
    for number, (title, section) in enumerate(language.sections.items(), start=1):
        rest = others if number == len(language.sections) else []
        yield {title: [*filter(names.__contains__, section), *rest]}
        if number == 1:
            yield {language.clients: [*BEFORE_CLIENTS, {language.each_client: clients}]}


def configuration(pages: Iterable[Path], language: Language) -> dict[str, object]:
    """What the generator reads from `mkdocs.yml`."""
    homes = {each.code: os.path.relpath(f"/{each.home}", f"/{language.home}") + "/" for each in LANGUAGES}
    return {
        "site_name": "OpenDify",
        "docs_dir": f"docs/{language.code}",
        "site_dir": f"site/{language.home}",
        "repo_url": REPOSITORY,
        "nav": list(navigation(pages, language)),
        "theme": theme(language),
        "extra_css": ["site.css"],
        "extra": {
            "generator": False,
            "alternate": [
                {"name": each.name, "lang": each.code, "link": homes[each.code]} for each in LANGUAGES
            ],
        },
        "markdown_extensions": [
            "tables",
            {"toc": {"permalink": True, "slugify": AS_GITHUB}},
            {"pymdownx.highlight": {}},
            "pymdownx.superfences",
        ],
    }


def theme(language: Language) -> dict[str, object]:
    looks = (("light", "default", "lucide/sun"), ("dark", "slate", "lucide/moon"))
    return {
        "name": "material",
        "language": language.code,
        # The reader's own fonts: nothing is fetched from elsewhere.
        "font": False,
        "features": ["content.code.copy", "navigation.sections", "navigation.top", "search.highlight"],
        "palette": [
            {
                "media": f"(prefers-color-scheme: {name})",
                "scheme": scheme,
                "toggle": {"icon": icon, "name": f"{name} →"},
            }
            for name, scheme, icon in looks
        ],
    }


if __name__ == "__main__":
    main()
