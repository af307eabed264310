"""A chat of BetterOpenDify goes on after its import, through the real service."""

import time
from pathlib import Path

from opendify.app import create_app
from tests.cli.conftest import Operation
from tests.cli.test_importing import OWNED, ask, mappings, users


def test_an_imported_chat_goes_on_in_its_conversation_as_its_user(
    operation: Operation, tmp_path: Path, dify: str
) -> None:
    operation.environ["DIFY_API_BASE"] = dify
    conversation_id, first = ask(dify, "Hello")
    file, owners = (
        mappings(tmp_path, {"chat-1": conversation_id}, last_used=time.time()),
        users(tmp_path, {"chat-1": "u1"}),
    )
    operation.said("conversations", "import", file, *OWNED, "--users", owners, "--ask-dify")
    client = create_app(operation.settings, store=operation.store).test_client()

    def say(messages: list[dict[str, str]], user: str = "u1") -> tuple[str, str]:
        response = client.post(
            "/v1/chat/completions",
            json={"model": "bot", "messages": messages},
            headers={
                "Authorization": "Bearer sk-anna-0123456789",
                "X-OpenWebUI-User-Id": user,
                "X-OpenWebUI-Chat-Id": "chat-1",
            },
        )
        assert response.status_code == 200, response.data
        return response.headers["X-Dify-Conversation-Id"], response.get_json()["choices"][0]["message"][
            "content"
        ]

    shown = [
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": first},
        {"role": "user", "content": "And again"},
    ]
    went_to, second = say(shown)
    shown += [{"role": "assistant", "content": second}, {"role": "user", "content": "Once more"}]
    then_to, _ = say(shown)
    stranger_to, _ = say(shown, user="u2")

    assert (went_to, then_to) == (conversation_id, conversation_id)
    assert stranger_to != conversation_id
