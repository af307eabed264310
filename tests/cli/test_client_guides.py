"""Each client's page shows what `opendify check --client` prints."""

import re
from pathlib import Path
from typing import Final

import pytest

from opendify.cli.clients import CLIENTS, settings_for
from opendify.settings import PROJECT_FOLDER, load_settings

DOCS: Final = PROJECT_FOLDER / "docs"
PAGES: Final = sorted(page for page in DOCS.glob("clients/*.md") if not page.name.endswith(".zh-CN.md"))
SHARED: Final = {
    "openai-python": "openai-sdks",
    "openai-node": "openai-sdks",
    "azure-openai": "openai-sdks",
    "curl": "openai-sdks",
}
# Older than the others, and longer; it shows the settings one by one.
OF_ITS_OWN: Final = "open-webui"
FENCE: Final = re.compile(r"^```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)


@pytest.mark.parametrize("client", sorted(CLIENTS.keys() - {OF_ITS_OWN}))
def test_a_page_shows_what_is_printed(client: str) -> None:
    settings = load_settings(
        {
            "MODEL_CONFIG": '{"translator": "app-1", "support": "app-2"}',
            "DIFY_API_BASE": "http://127.0.0.1:9/v1",
        }
    )
    page = DOCS / f"clients/{SHARED.get(client, client)}.md"

    shown = [block.rstrip() for block in FENCE.findall(page.read_text(encoding="utf-8"))]

    assert settings_for(client, "http://HOST:5000/v1", settings).rstrip() in shown


@pytest.mark.parametrize("edition", ["", ".zh-CN"], ids=["English", "Chinese"])
def test_the_overview_links_to_every_page(edition: str) -> None:
    overview = (DOCS / f"clients{edition}.md").read_text(encoding="utf-8")

    assert [page.stem for page in PAGES if f"(clients/{page.stem}{edition}.md)" not in overview] == []


@each_page
def test_a_page_says_whether_the_client_was_tried(page: Path) -> None:
    text = page.read_text(encoding="utf-8")

    assert re.search(r"^(Tried |Not tried by us in the client itself)", text, re.MULTILINE)
