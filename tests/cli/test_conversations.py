"""`opendify conversations`: looking, forgetting, moving."""

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from opendify.settings import PROJECT_FOLDER
from tests.cli.conftest import Operation
from tests.stores.conversations import conversation


def test_the_list_is_a_readable_table_newest_first(operation: Operation) -> None:
    operation.add("older", updated_at=1_700_000_000, user="anna:u1", turns=3)
    operation.add("newer", updated_at=1_700_000_060)

    head, first, second = operation.said("conversations", "list").splitlines()

    assert head.split()[:4] == ["id", "model", "caller", "user"]
    assert first.startswith("newer")
    assert second.split()[0] == "older"
    assert "2023-11-14 22:13:20Z" in second
    assert head.index("user") == second.index("anna:u1")


def test_an_empty_store_lists_nothing(operation: Operation) -> None:
    assert len(operation.said("conversations", "list").splitlines()) == 1


def test_the_list_can_be_json_and_short(operation: Operation) -> None:
    operation.add("a", "b", "c")

    rows = json.loads(operation.said("conversations", "list", "--limit", "2", "--json"))

    assert len(rows) == 2
    assert {"id", "webui_chat_id", "dify_conversation_id", "last_used"} <= set(rows[0])


def test_the_list_can_be_one_person_s(operation: Operation) -> None:
    operation.add("mine", user="anna:u1", caller="anna")
    operation.add("other", user="anna:u2", caller="anna")

    by_dify = operation.said("conversations", "list", "--user", "anna:u1", "--json")
    by_key = operation.said("conversations", "list", "--user", "u1", "--key", "anna", "--json")

    assert [row["id"] for row in json.loads(by_dify)] == ["mine"]
    assert json.loads(by_key) == json.loads(by_dify)


def test_an_id_cannot_move_the_terminal_s_cursor(operation: Operation) -> None:
    operation.add("a", chat_id="\x1b[2Jevil\nline")

    assert "\x1b" not in operation.said("conversations", "list")
    assert len(operation.said("conversations", "list").splitlines()) == 2
    assert "\x1b" not in operation.said("conversations", "show", "a")


def test_one_is_shown_whole(operation: Operation) -> None:
    operation.add("a", conversation_id="dify-a")

    assert "dify_conversation_id  dify-a" in operation.said("conversations", "show", "a")
    assert json.loads(operation.said("conversations", "show", "a", "--json"))["id"] == "a"


@pytest.mark.parametrize("command", [("show", "nope"), ("delete", "nope"), ("delete", "a", "nope")])
def test_an_unknown_one_is_named(operation: Operation, command: tuple[str, ...]) -> None:
    operation.add("a")

    assert "'nope'" in operation.refused("conversations", *command)


def test_those_that_are_named_are_forgotten(operation: Operation) -> None:
    operation.add("a", "b", "c")

    assert operation.said("conversations", "delete", "a", "b") == "2 conversations deleted\n"
    assert operation.ids() == {"c"}


def test_a_user_s_are_forgotten_after_a_question(operation: Operation) -> None:
    operation.add("a", "b", user="anna:u1", caller="anna")
    operation.add("c", user="anna:u2", caller="anna")

    declined = operation.run("conversations", "delete", "--user", "u1", "--key", "anna", typed="n\n")
    kept = operation.ids()
    operation.said("conversations", "delete", "--user", "u1", "--key", "anna", typed="y\n")

    assert declined.exit_code == 1
    assert "Delete 2 conversations?" in declined.output
    assert kept == {"a", "b", "c"}
    assert operation.ids() == {"c"}


def test_a_user_s_are_forgotten_without_a_question_where_asked(operation: Operation) -> None:
    operation.add("a", user="anna:u1")

    report = json.loads(operation.said("conversations", "delete", "--user", "anna:u1", "--yes", "--json"))

    assert report == {
        "user": "anna:u1",
        "complete": True,
        "deleted": 1,
        "deleted_at_dify": None,
        "failures": [],
    }


@pytest.mark.parametrize("arguments", [(), ("a", "--user", "u")])
def test_what_to_forget_is_named_in_one_way(operation: Operation, arguments: tuple[str, ...]) -> None:
    operation.add("a")

    assert "either" in operation.refused("conversations", "delete", *arguments, code=2)
    assert operation.ids() == {"a"}


def test_a_conversation_is_deleted_in_dify_too(operation: Operation, dify: str) -> None:
    operation.environ["DIFY_API_BASE"] = dify
    (app,) = operation.settings.models
    auth = {"Authorization": f"Bearer {app.api_key}"}
    asked = {"query": "Hello", "inputs": {}, "user": "anna:u1", "response_mode": "blocking"}
    answer = httpx.post(f"{dify}/chat-messages", json=asked, headers=auth, trust_env=False).json()
    operation.add(
        "a",
        user="anna:u1",
        conversation_id=answer["conversation_id"],
        app_fingerprint=app.fingerprint,
    )

    operation.said("conversations", "delete", "--user", "anna:u1", "--dify", "--yes")

    left = httpx.get(f"{dify}/conversations?user=anna:u1", headers=auth, trust_env=False).json()
    assert left["data"] == []
    assert operation.ids() == set()


def test_what_dify_does_not_delete_stays_and_the_exit_code_says_so(operation: Operation) -> None:
    (app,) = operation.settings.models
    operation.add("a", user="anna:u1", app_fingerprint=app.fingerprint)

    done = operation.run("conversations", "delete", "--user", "anna:u1", "--dify", "--yes")

    assert done.exit_code == 1
    assert "a: " in done.stderr
    assert operation.ids() == {"a"}


def test_old_ones_are_cleaned_up_by_the_service_s_own_limit_or_another(operation: Operation) -> None:
    operation.add("old", updated_at=1_000)
    operation.add("new")

    assert (
        operation.said("conversations", "cleanup", "--max-age-days", "36500") == "0 conversations deleted\n"
    )
    assert operation.said("conversations", "cleanup") == "1 conversation deleted\n"
    assert operation.ids() == {"new"}


@pytest.mark.parametrize("days", ["-1", "many", "nan"])
def test_days_that_are_none_forget_nothing(operation: Operation, days: str) -> None:
    operation.add("old", updated_at=1_000)

    operation.refused("conversations", "cleanup", "--max-age-days", days, code=2)
    assert operation.ids() == {"old"}


def test_an_export_comes_back_whole(operation: Operation, tmp_path: Path) -> None:
    rows = operation.add("a", "b", recent=b"\x00\xff" * 8, match_key="key", turns=7, shows_history=True)
    file = tmp_path / "rows.jsonl"

    assert operation.said("conversations", "export", file) == f"{file}: 2 conversations\n"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    operation.said("conversations", "delete", "a", "b")
    said = operation.said("conversations", "import", file)

    assert said == "2 conversations read: 2 added, 0 were there already\n"
    assert [operation.store.find(row.id) for row in rows] == rows


def test_an_export_of_nothing_is_imported_as_nothing(operation: Operation, tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    assert operation.said("conversations", "export", file) == f"{file}: 0 conversations\n"

    said = operation.said("conversations", "import", file)

    assert said == "0 conversations read: 0 added, 0 were there already\n"


def test_importing_an_export_twice_adds_nothing_and_turns_nothing_back(
    operation: Operation, tmp_path: Path
) -> None:
    operation.add("a", turns=1)
    operation.said("conversations", "export", tmp_path / "rows.jsonl")
    operation.store.claim("a", claim="c", now=0, until=1)
    operation.store.save(conversation("a", turns=2), claim="c")

    said = operation.said("conversations", "import", tmp_path / "rows.jsonl")

    assert said == "1 conversation read: 0 added, 1 were there already\n"
    found = operation.store.find("a")
    assert found
    assert found.turns == 2


def test_an_export_can_go_to_the_terminal(operation: Operation) -> None:
    operation.add("a")

    assert json.loads(operation.said("conversations", "export", "-"))["id"] == "a"


def test_an_export_replaces_no_file(operation: Operation, tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text("precious")

    assert "rows.jsonl: File exists" in operation.refused("conversations", "export", tmp_path / "rows.jsonl")
    assert (tmp_path / "rows.jsonl").read_text() == "precious"


def test_an_export_with_a_broken_line_adds_nothing(operation: Operation, tmp_path: Path) -> None:
    operation.add("a", "b")
    file = tmp_path / "rows.jsonl"
    operation.said("conversations", "export", file)
    file.write_text(file.read_text().replace('"id":"b"', '"id":5'))
    operation.said("conversations", "delete", "a", "b")

    assert "line 2" in operation.refused("conversations", "import", file)
    assert operation.ids() == set()


@pytest.mark.parametrize(
    "command", [("conversations", "list"), ("conversations", "cleanup"), ("conversations", "show", "a")]
)
@pytest.mark.parametrize("scheme", ["redis", "postgresql"])
def test_a_store_that_is_down_is_one_line(
    environ: dict[str, str], command: tuple[str, ...], scheme: str
) -> None:
    url = f"{scheme}://user:hush@127.0.0.1:9/0"

    # In a process of its own, where no test's handler catches what drivers log.
    done = subprocess.run(
        [sys.executable, "-c", "from opendify.cli import main; main()", *command],
        env={**os.environ, **environ, "CONVERSATION_STORE_URL": url},
        cwd=PROJECT_FOLDER,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 1
    assert done.stderr.startswith("Error: ")
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert "hush" not in done.stderr


def test_wrong_settings_are_one_line_each_and_exit_with_2(operation: Operation) -> None:
    said = operation.refused(
        "conversations", "list", code=2, CONVERSATION_STORE_URL="mysql://x", LOG_LEVEL="x"
    )

    assert "LOG_LEVEL" in said
    assert "CONVERSATION_STORE_URL" in said
    assert len(said.splitlines()) == 2
