"""A command in front of a real store, and a simulated Dify where it is asked."""

import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from opendify.cli import main
from opendify.settings import Settings, load_settings
from opendify.simulator import SimulatorOptions, create_simulator
from opendify.stores import ConversationStore, StoredConversation, open_store
from tests.fakes.served_app import served
from tests.stores.conversations import conversation

NOW_ENOUGH = 4_000_000_000.0  # Later than any test runs, so that nothing is too old.


@dataclass
class Operation:
    """`environ` is what the service has; `store` is the one that it names."""

    environ: dict[str, str]
    store: ConversationStore

    @property
    def settings(self) -> Settings:
        return load_settings(self.environ)

    @property
    def data_dir(self) -> Path:
        return self.settings.data_dir

    @property
    def database(self) -> Path:
        return self.data_dir / "conversations.db"

    def run(self, *arguments: str | Path, typed: str | None = None, **environ: str) -> Result:
        everything = {**self.environ, **environ}
        return CliRunner().invoke(main, [str(each) for each in arguments], env=everything, input=typed)

    def said(self, *arguments: str | Path, typed: str | None = None) -> str:
        """What a command says that ends well."""
        done = self.run(*arguments, typed=typed)
        assert done.exit_code == 0, (done.output, done.exception)
        return done.stdout

    def refused(self, *arguments: str | Path, code: int = 1, **environ: str) -> str:
        """The one line of a command that does not."""
        done = self.run(*arguments, **environ)
        assert done.exit_code == code, (done.output, done.exception)
        assert "Traceback" not in done.output
        return done.stderr

    def add(self, *ids: str, **fields: object) -> list[StoredConversation]:
        rows = [conversation(each, **{"updated_at": NOW_ENOUGH, **fields}) for each in ids]
        assert all(self.store.save(row, claim="test") for row in rows)
        return rows

    def ids(self) -> set[str]:
        return {row.id for row in self.store.all()}


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {
        "DIFY_API_BASE": "http://127.0.0.1:9/v1",
        "MODEL_CONFIG": json.dumps({"bot": "app-demo-chat"}),
        "API_KEYS": "anna:sk-anna-0123456789",
        "DATA_DIR": str(tmp_path / "data"),
    }


@pytest.fixture
def operation(environ: dict[str, str], tmp_path: Path) -> Iterator[Operation]:
    with closing(open_store("sqlite:///data/conversations.db", tmp_path / "data")) as store:
        yield Operation(environ, store)


@pytest.fixture
def dify() -> Iterator[str]:
    """The address of a simulated Dify's API."""
    options = SimulatorOptions(
        token_delay_seconds=0, naming_delay_seconds=0, message_time_resolution_seconds=0
    )
    with served(create_simulator(options)) as url:
        yield f"{url}/v1"
