"""`opendify conversations import` of BetterOpenDify's files, and what then continues."""

import json
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from opendify.conversations.fingerprint import fingerprint
from opendify.conversations.identity import ClientContext, dify_user
from opendify.conversations.matching import Scope
from opendify.records import Caller
from opendify.stores import StoredConversation
from opendify.translate.turn import HistoryMessage
from tests.cli.conftest import Operation

LAST_USED = 1_722_987_654
OWNED = ("--model", "bot", "--key", "anna")


def mappings(folder: Path, chats: dict[str, str], *, last_used: float = LAST_USED) -> Path:
    file = folder / "conversation_mappings.json"
    entries = {
        chat: {"dify_conversation_id": each, "created_at": 1_722_123_456, "last_used": last_used}
        for chat, each in chats.items()
    }
    file.write_text(json.dumps(entries))
    return file


def users(folder: Path, owners: dict[str, str]) -> Path:
    file = folder / "users.json"
    file.write_text(json.dumps(owners))
    return file


def scope(operation: Operation, person: str, chat_id: str) -> Scope:
    """Where the gateway looks for a request of `person` that comes with Anna's key."""
    (app,) = operation.settings.models
    caller = Caller("anna")
    user = dify_user(ClientContext(user=person), caller, operation.settings.dify_user_prefix)
    return Scope("bot", app.fingerprint, caller.id, user, chat_id)


def only(operation: Operation) -> StoredConversation:
    (row,) = operation.store.all()
    return row


def test_a_chat_is_found_where_its_next_request_looks_and_keeps_its_user_in_dify(
    operation: Operation, tmp_path: Path
) -> None:
    file, owners = mappings(tmp_path, {"chat-1": "dify-1"}), users(tmp_path, {"chat-1": "u1"})

    said = operation.said("conversations", "import", file, *OWNED, "--users", owners)

    assert said.startswith("1 conversation read: 1 added, 0 were there already\n")
    (row,) = operation.store.find_by_scope(scope(operation, "u1", "chat-1").key, 5)
    (app,) = operation.settings.models
    assert (row.model, row.caller, row.user, row.chat_id) == ("bot", "anna", "u1", "chat-1")
    assert (row.conversation_id, row.app_fingerprint) == ("dify-1", app.fingerprint)
    assert (row.match_key, row.recent) == ("", b"")
    assert (row.created_at, row.updated_at) == (1_722_123_456, LAST_USED)


def test_a_prefix_in_front_of_the_person_stays_in_dify_s_user(operation: Operation, tmp_path: Path) -> None:
    file, owners = mappings(tmp_path, {"chat-1": "dify-1"}), users(tmp_path, {"chat-1": "u1"})

    operation.said("conversations", "import", file, *OWNED, "--users", owners, "--user-prefix", "open_webui_")

    assert only(operation).user == "open_webui_u1"
    assert only(operation).scope == scope(operation, "u1", "chat-1").key


def test_our_own_prefix_is_in_the_scope_alone(operation: Operation, tmp_path: Path) -> None:
    operation.environ["DIFY_USER_PREFIX"] = "opendify-"
    file, owners = mappings(tmp_path, {"chat-1": "dify-1"}), users(tmp_path, {"chat-1": "u1"})

    operation.said("conversations", "import", file, *OWNED, "--users", owners)

    assert only(operation).user == "u1"
    assert only(operation).scope == scope(operation, "u1", "chat-1").key


def test_a_chat_of_nobody_is_the_key_holder_s_own(operation: Operation, tmp_path: Path) -> None:
    said = operation.said("conversations", "import", mappings(tmp_path, {"chat-1": "dify-1"}), *OWNED)

    assert "1 name no user" in said
    assert only(operation).user == "default_user"
    assert only(operation).scope == scope(operation, "", "chat-1").key


@pytest.mark.parametrize(("age_days", "is_warned_of"), [(1, False), (29, False), (31, True), (400, True)])
def test_a_chat_that_the_next_cleanup_forgets_is_warned_of(
    operation: Operation, tmp_path: Path, age_days: int, is_warned_of: bool
) -> None:
    last_used = time.time() - age_days * 86_400

    said = operation.said(
        "conversations", "import", mappings(tmp_path, {"chat-1": "dify-1"}, last_used=last_used), *OWNED
    )

    assert ("CONVERSATION_TTL_DAYS" in said) is is_warned_of


def test_the_database_is_imported_with_open_webui_s_own(operation: Operation, tmp_path: Path) -> None:
    old, webui = tmp_path / "conversation_mappings.db", tmp_path / "webui.db"
    with closing(sqlite3.connect(old)) as connection, connection:
        connection.execute(
            "CREATE TABLE conversation_mappings (webui_chat_id TEXT PRIMARY KEY, dify_conversation_id TEXT, "
            "created_at INTEGER, last_used INTEGER, updated_at INTEGER)"
        )
        connection.execute("INSERT INTO conversation_mappings VALUES ('chat-1', 'dify-1', 1, 2, 3)")
    with closing(sqlite3.connect(webui)) as connection, connection:
        connection.execute("CREATE TABLE chat (id TEXT, user_id TEXT)")
        connection.execute("INSERT INTO chat VALUES ('chat-1', 'u1')")

    operation.said("conversations", "import", old, *OWNED, "--users", webui)

    assert only(operation).user == "u1"


def test_importing_twice_adds_nothing(operation: Operation, tmp_path: Path) -> None:
    file = mappings(tmp_path, {"chat-1": "dify-1", "chat-2": "dify-2"})
    operation.said("conversations", "import", file, *OWNED)
    before = list(operation.store.all())

    said = operation.said("conversations", "import", file, *OWNED)

    assert said.startswith("2 conversations read: 0 added, 2 were there already\n")
    assert list(operation.store.all()) == before


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ((), "--model"),
        (("--model", "bot"), "--key"),
        (("--model", "none", "--key", "anna"), "bot"),
        (("--model", "bot", "--key", "ben"), "anna"),
    ],
)
def test_whose_chats_they_are_must_be_said(
    operation: Operation, tmp_path: Path, arguments: tuple[str, ...], word: str
) -> None:
    file = mappings(tmp_path, {"chat-1": "dify-1"})

    assert word in operation.refused("conversations", "import", file, *arguments, code=2)
    assert operation.ids() == set()


def test_the_key_that_the_first_start_made_can_be_named(operation: Operation, tmp_path: Path) -> None:
    file = mappings(tmp_path, {"chat-1": "dify-1"})

    operation.said("conversations", "import", file, "--model", "bot", "--key", "#first-key")

    assert only(operation).caller == "#first-key"


def test_another_file_is_refused_with_one_line(operation: Operation, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("notes")

    said = operation.refused("conversations", "import", tmp_path / "notes.txt", *OWNED)

    assert len(said.splitlines()) == 1
    assert "notes.txt" in said


def ask(dify: str, query: str, conversation_id: str = "") -> tuple[str, str]:
    """One turn of `u1` as BetterOpenDify ran it: the conversation's id and the answer."""
    body = {"query": query, "inputs": {}, "user": "u1", "response_mode": "blocking"}
    answer = httpx.post(
        f"{dify}/chat-messages",
        json=body | {"conversation_id": conversation_id},
        headers={"Authorization": "Bearer app-demo-chat"},
        trust_env=False,
    ).json()
    return str(answer["conversation_id"]), str(answer["answer"])


def test_a_transcript_that_dify_holds_is_found_by_it(operation: Operation, tmp_path: Path, dify: str) -> None:
    operation.environ["DIFY_API_BASE"] = dify
    conversation_id, first = ask(dify, "Hello")
    ask(dify, "### Task:\nGenerate a title\n<chat_history>\n…\n</chat_history>", conversation_id)
    _, second = ask(dify, "And again", conversation_id)
    file, owners = mappings(tmp_path, {"chat-1": conversation_id}), users(tmp_path, {"chat-1": "u1"})

    operation.said("conversations", "import", file, *OWNED, "--users", owners, "--ask-dify")

    # What Open WebUI shows before its next message; the title's question is not in it.
    shown = fingerprint(
        [
            HistoryMessage("user", "Hello"),
            HistoryMessage("assistant", first),
            HistoryMessage("user", "And again"),
            HistoryMessage("assistant", second),
        ]
    )
    key = scope(operation, "u1", "chat-1").match_key(shown, b"")
    claimed = operation.store.claim_match(key, claim="test", until=1)
    assert claimed
    assert (claimed.conversation_id, claimed.turns, claimed.recent) == (conversation_id, 3, shown.recent)


def test_a_conversation_that_dify_does_not_have_for_its_user_is_left_out(
    operation: Operation, tmp_path: Path, dify: str
) -> None:
    operation.environ["DIFY_API_BASE"] = dify
    conversation_id, _ = ask(dify, "Hello")
    gone = "00000000-0000-4000-8000-000000000000"
    file = mappings(tmp_path, {"chat-1": conversation_id, "chat-2": gone, "chat-3": "conv_none"})
    owners = users(tmp_path, {"chat-1": "somebody-else", "chat-2": "u1", "chat-3": "u1"})

    said = operation.said("conversations", "import", file, *OWNED, "--users", owners, "--ask-dify")

    assert "3 left out" in said
    assert operation.ids() == set()


def test_a_dify_that_is_down_is_said_and_nothing_is_added(operation: Operation, tmp_path: Path) -> None:
    file = mappings(tmp_path, {"chat-1": "dify-1"})

    assert "cannot be reached" in operation.refused("conversations", "import", file, *OWNED, "--ask-dify")
    assert operation.ids() == set()
