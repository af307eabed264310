"""`opendify keys` and `opendify audit`, as an operator types them."""

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from opendify.access.known_keys import KnownKeys
from opendify.access.opening import open_configured_keys
from opendify.cli import main
from opendify.settings import load_settings


class Terminal:
    def __init__(self, folder: Path) -> None:
        self.environ = {
            "DIFY_API_BASE": "http://dify.test/v1",
            "MODEL_CONFIG": '{"bot": "app-bot"}',
            "DATA_DIR": str(folder / "data"),
            "API_KEYS": "taken:sk-taken-0123456789",
        }
        self.log = folder / "data/audit.log"

    def run(self, *words: str, typed: str | None = None, **environ: str) -> Result:
        return CliRunner().invoke(main, words, env={**self.environ, **environ}, input=typed)

    def said(self, *words: str, typed: str | None = None) -> str:
        done = self.run(*words, typed=typed)
        assert done.exit_code == 0, (done.output, done.exception)
        return done.stdout

    def refused(self, *words: str, code: int = 1, typed: str | None = None, **environ: str) -> str:
        done = self.run(*words, typed=typed, **environ)
        assert done.exit_code == code, (done.output, done.exception)
        assert "Traceback" not in done.output
        return done.stderr

    def create(self, *words: str) -> Mapping[str, object]:
        made: Mapping[str, object] = json.loads(self.said("keys", "create", *words, "--json"))
        return made

    def lets_in(self, key: object) -> bool:
        store = open_configured_keys(load_settings(self.environ))
        assert store
        known = KnownKeys(store).find(str(key))
        store.close()
        return known is not None and not known.stored.revoked_at


@pytest.fixture
def terminal(tmp_path: Path) -> Terminal:
    return Terminal(tmp_path)


def test_a_key_is_shown_once(terminal: Terminal) -> None:
    key = terminal.said("keys", "create", "team").strip()

    assert key.startswith("sk-od-")
    assert terminal.lets_in(key)
    secret = key[-43:]
    for words in (("list",), ("list", "--json"), ("show", "team"), ("show", "team", "--json")):
        assert secret not in terminal.said("keys", *words)
    assert secret not in terminal.log.read_text()


def test_a_key_has_the_rights_that_were_asked_for(terminal: Terminal) -> None:
    made = terminal.create(
        *("team", "--model", "gpt-*", "--model", "bot", "--address", "10.0.0.0/8", "--admin"),
        *("--rpm", "60", "--tpm", "1000", "--concurrency", "3", "--user", "anna", "--expires", "2999-01-31"),
    )

    random = {"id", "key", "caller", "created_at", "expires_at", "revoked_at", "last_used_at"}
    told = {name: value for name, value in made.items() if name not in random}
    assert told == {
        "name": "team",
        "state": "active",
        "models": ["gpt-*", "bot"],
        "addresses": ["10.0.0.0/8"],
        "admin": True,
        "requests_per_minute": 60,
        "tokens_per_minute": 1000,
        "concurrency": 3,
        "default_user": "anna",
        "former_key_until": None,
    }
    assert made["expires_at"] == 32_474_736_000
    assert made["caller"] == made["id"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("name with blanks",), "letters, digits"),
        (("taken",), "already"),
        (("x", "--address", "10.0.0.1/8"), "range"),
        (("x", "--expires", "yesterday"), "number and a unit"),
        (("x", "--expires", "2001-01-01"), "future"),
        (("x", "--rpm", "-1"), "range"),
    ],
)
def test_what_cannot_be_is_refused_with_a_reason(
    terminal: Terminal, words: tuple[str, ...], says: str
) -> None:
    done = terminal.run("keys", "create", *words)

    assert done.exit_code != 0
    assert says in done.stderr
    assert json.loads(terminal.said("keys", "list", "--json")) == []


def test_a_name_is_free_again_when_its_key_is_revoked(terminal: Terminal) -> None:
    first = terminal.create("team")
    assert "already" in terminal.refused("keys", "create", "team")
    terminal.said("keys", "revoke", "team")
    second = terminal.create("team")

    assert not terminal.lets_in(first["key"])
    assert terminal.lets_in(second["key"])
    assert json.loads(terminal.said("keys", "show", "team", "--json"))["id"] == second["id"]
    assert "was revoked" in terminal.refused("keys", "revoke", str(first["id"]))
    assert "no key" in terminal.refused("keys", "revoke", "nobody")


@pytest.mark.parametrize("grace", ["0s", "1h"])
def test_a_rotated_key_has_the_same_holder(terminal: Terminal, grace: str) -> None:
    first = terminal.create("team", "--rpm", "7")

    second = json.loads(terminal.said("keys", "rotate", "team", "--grace", grace, "--json"))

    assert (second["id"], second["caller"], second["requests_per_minute"]) == (
        first["id"],
        first["caller"],
        7,
    )
    assert second["key"] != first["key"]
    assert terminal.lets_in(second["key"])
    assert terminal.lets_in(first["key"]) is (grace == "1h")


def test_keys_of_the_settings_are_imported_with_their_callers(terminal: Terminal, tmp_path: Path) -> None:
    file = tmp_path / "keys.txt"
    file.write_text("# clients\ntaken:sk-taken-0123456789\n\nben: sk-ben-9876543210-abc\n")

    assert terminal.said("keys", "import", str(file), "--rpm", "5").startswith("2 keys imported")

    listed = json.loads(terminal.said("keys", "list", "--json"))
    assert [(each["name"], each["caller"], each["requests_per_minute"]) for each in listed] == [
        ("taken", "taken", 5),
        ("ben", "ben", 5),
    ]
    assert terminal.lets_in("sk-ben-9876543210-abc")
    assert "already" in terminal.refused("keys", "import", str(file))


@pytest.mark.parametrize(
    ("text", "says", "code"), [("short:sk-1", "too short", 1), ("no-key-here", "name:key", 2)]
)
def test_a_key_that_is_none_is_not_imported(terminal: Terminal, text: str, says: str, code: int) -> None:
    said = terminal.refused("keys", "import", "-", code=code, typed=text)

    assert says in said
    assert "sk-1" not in said


def test_a_table_shows_all_keys(terminal: Terminal) -> None:
    terminal.create("team", "--model", "gpt-*", "--rpm", "60")
    terminal.create("boss", "--admin")

    head, team, boss = terminal.said("keys", "list").splitlines()
    assert head.split() == ["id", "name", "state", "models", "limits", "expires", "last", "used"]
    assert "gpt-*" in team
    assert "60 rpm" in team
    assert "active (admin)" in boss


def test_without_a_store_there_are_no_keys(terminal: Terminal) -> None:
    assert "KEY_STORE is off" in terminal.refused("keys", "list", code=2, KEY_STORE="off")
    assert "Redis" in terminal.refused("keys", "list", KEY_STORE="redis://127.0.0.1:1/0")


def test_every_change_of_a_key_is_audited_and_verified(terminal: Terminal) -> None:
    terminal.create("team")
    terminal.said("keys", "rotate", "team")
    terminal.said("keys", "revoke", "team")
    terminal.said("keys", "import", "-", typed="old:sk-0123456789abcdef")

    lines = [json.loads(line) for line in terminal.log.read_text().splitlines()]
    assert [line["action"] for line in lines] == ["create", "rotate", "revoke", "import"]
    assert "4 entries" in terminal.said("audit", "verify")

    text = terminal.log.read_text()
    terminal.log.write_text(text.replace('"revoke"', '"rotate"'))
    assert "audit.log:3: this line was changed" in terminal.refused("audit", "verify")
