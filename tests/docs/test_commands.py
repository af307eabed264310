"""The commands of every page are run as they stand there, against the service in front of a simulated Dify.

Blocks that are marked as ```` ```bash manual ```` need what no test has: a container engine, a cluster,
root.
The README's commands have a test of their own.
"""

import json
import os
import re
import shlex
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx
import pytest
from click.testing import CliRunner

from opendify.app import create_app
from opendify.cli import main as opendify
from opendify.settings import load_settings
from opendify.simulator import SimulatorOptions, create_simulator
from tests.fakes.served_app import served
from tests.pages import command_lines, english_pages, page_id, run_blocks
from tests.stores.servers import free_port

PAGES: Final = [
    page
    for page in english_pages()
    if page.name != "README.md" and run_blocks(page.read_text(encoding="utf-8"))
]
SETTINGS: Final[Mapping[str, str]] = {
    "API_KEYS": "anna:sk-anna-0123456789,openwebui:sk-webui-0123456789",
    "ADMIN_API_KEY": "sk-admin-0123456789",
    "METRICS_API_KEY": "sk-metrics-0123456789",
    "DIFY_MESSAGE_TIME_RESOLUTION": "0",
    "ENVIRONMENT": "development",
}
MODELS: Final = {
    "translator": "app-demo-chat",
    "support": "app-demo-chat",
    "demo-chat": "app-demo-chat",
    "report": "app-demo-workflow",
}
# What a page's commands speak of that is set elsewhere.
PAGE_SETTINGS: Final[Mapping[str, Mapping[str, str]]] = {
    "docs/keys-and-limits.md": {"AUTH_MODE": "passthrough"},
    "docs/index.md": {"AUTH_MODE": "open", "API_KEYS": ""},
}


@dataclass
class World:
    """A folder with what the pages speak of, and the service; `ids` stand for the words of the examples."""

    folder: Path
    environ: Mapping[str, str]
    url: str
    ids: Mapping[str, str]

    def run(self, command: str) -> str:
        """What the command says; it must end well."""
        command = self._moved_here(command)
        return self._curl(command) if command.startswith("curl ") else self._opendify(command)

    def _opendify(self, command: str) -> str:
        """Whoever is asked says yes. Nothing is restored below a service that runs, but beside it."""
        arguments = shlex.split(command)[1:]
        home = {"DATA_DIR": str(self.folder / "restored")} if arguments[0] == "restore" else {}
        done = CliRunner().invoke(opendify, arguments, input="y\n", env={**self.environ, **home})
        assert done.exit_code == 0, f"{command}\n{done.output}"
        return done.output

    def _curl(self, command: str) -> str:
        environ = {**os.environ, **self.environ, "NO_PROXY": "*", "KEY": "sk-anna-0123456789", **self.ids}
        done = subprocess.run(
            ["bash", "-c", command.replace("curl ", "curl --fail-with-body --silent ", 1)],
            cwd=self.folder,
            env=environ,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        return done.stdout

    def _moved_here(self, command: str) -> str:
        backups = self.folder / "backups"
        made = sorted(backups.glob("opendify-*.zip"))
        names = {
            "http://127.0.0.1:5000": self.url,
            "http://HOST:5000": self.url,
            "YOUR_KEY": "sk-anna-0123456789",
            "app-…": "app-demo-chat",
            r"(?<!\w)/var/backups/opendify/opendify-\w+\.zip": str(made[-1]) if made else "",
            r"(?<!\w)(/var/backups/opendify|/backups)\b": str(backups),
            r"\brows\.jsonl|\bconversation_mappings\.db|\bwebui\.db": rf"{self.folder}/\g<0>",
            **{rf"(?<!\$)\b{name}\b": value for name, value in self.ids.items()},
        }
        for pattern, there in names.items():
            command = re.sub(pattern, there, command)
        return command


@pytest.fixture(scope="module")
def dify() -> Iterator[str]:
    """The address of a simulated Dify's API."""
    with served(
        create_simulator(SimulatorOptions(version="1.16.1", token_delay_seconds=0, naming_delay_seconds=0))
    ) as url:
        yield f"{url}/v1"


@contextmanager
def world(folder: Path, dify: str, page_settings: Mapping[str, str]) -> Iterator[World]:
    port = free_port()
    environ = {
        **SETTINGS,
        **page_settings,
        "DIFY_API_BASE": dify,
        "MODEL_CONFIG": json.dumps(MODELS),
        "DATA_DIR": str(folder / "data"),
        "SERVER_PORT": str(port),
    }
    for name in ("data", "backups"):
        (folder / name).mkdir()
    (folder / "data/admin-key").write_text(environ["ADMIN_API_KEY"])
    write_old_mappings(folder)
    with served(create_app(load_settings(environ)), port) as url:
        yield World(folder, environ, url, ids_of_chats(url))


def ids_of_chats(url: str) -> Mapping[str, str]:
    """Two people have chatted, and whoever has no name; `ID` is how the store calls a conversation.

    Somebody has asked for what is not there, so that there is an error to be counted.
    """
    ask(url, "nothing", None)
    chats = [ask(url, "support", user) for user in ("u-17", "u-18", None)]
    admin = {"Authorization": "Bearer sk-admin-0123456789"}
    recent = httpx.get(f"{url}/v1/conversation/recent", headers=admin, trust_env=False).json()
    return {
        "ID": recent["recent_mappings"][0]["id"],
        "MESSAGE": chats[-1].headers["X-Dify-Message-Id"],
        "RUN": ask(url, "report", None).headers["X-Dify-Workflow-Run-Id"],
    }


def ask(url: str, model: str, user: str | None) -> httpx.Response:
    chat = {"model": model, "messages": [{"role": "user", "content": "Hello"}], "user": user}
    headers = {"Authorization": "Bearer sk-anna-0123456789"}
    return httpx.post(f"{url}/v1/chat/completions", json=chat, headers=headers, trust_env=False)


def write_old_mappings(folder: Path) -> None:
    """The files of BetterOpenDify and of Open WebUI."""
    with closing(sqlite3.connect(folder / "conversation_mappings.db")) as old, old:
        old.execute(
            "CREATE TABLE conversation_mappings"
            " (webui_chat_id TEXT, dify_conversation_id TEXT, last_used TEXT)"
        )
        old.execute("INSERT INTO conversation_mappings VALUES ('chat-1', 'old-1', '2026-11-01 10:00:00')")
    with closing(sqlite3.connect(folder / "webui.db")) as webui, webui:
        webui.execute("CREATE TABLE chat (id TEXT, user_id TEXT)")
        webui.execute("INSERT INTO chat VALUES ('chat-1', 'u-17')")


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_every_command_of_a_page_ends_well(page: Path, dify: str, tmp_path: Path) -> None:
    with world(tmp_path, dify, PAGE_SETTINGS.get(page_id(page), {})) as here:
        for block in run_blocks(page.read_text(encoding="utf-8")):
            for command in command_lines(block):
                here.run(command)


@pytest.mark.parametrize(
    "command", ["opendify conversations show nobody", "curl http://127.0.0.1:5000/v1/nothing"]
)
def test_a_command_that_fails_is_noticed(command: str, dify: str, tmp_path: Path) -> None:
    with world(tmp_path, dify, {}) as here, pytest.raises(AssertionError, match=r"nothing|nobody"):
        here.run(command)
