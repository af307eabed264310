"""Clients answer, stream, remember and say what went wrong, set up as `docs/clients` says."""

import shutil

import pytest

from tests.clients.asking import FOLDER, ask, ask_node
from tests.sdk.stand import Stand

HELLO = "ECHO prior=0 images=0 :: Hello"
AGAIN = "ECHO prior=2 images=0 :: Again"

with_node = pytest.mark.skipif(
    not (shutil.which("node") and (FOLDER / "node/node_modules").is_dir()),
    reason="needs Node, and `npm ci --prefix tests/clients/node`",
)


def test_langchain(stand: Stand) -> None:
    seen = ask("ask_langchain.py", stand)

    assert (seen["whole"], seen["streamed"]) == (HELLO, HELLO)
    assert seen["tokens"] > 0
    assert seen["graph"] == ["ECHO prior=0 images=0 :: one", "ECHO prior=2 images=0 :: two"]
    assert "fake upstream error 500" in seen["failure"]
    assert stand.dify.count("requests") == 5


def test_llamaindex(stand: Stand) -> None:
    seen = ask("ask_llamaindex.py", stand)

    assert (seen["whole"], seen["streamed"], seen["completion"]) == (HELLO, HELLO, HELLO)
    assert seen["chat"] == ["ECHO prior=0 images=0 :: one", "ECHO prior=2 images=0 :: two"]
    assert "fake upstream error 500" in seen["failure"]
    assert stand.dify.count("requests") == 6


def test_litellm(stand: Stand) -> None:
    seen = ask("ask_litellm.py", stand)

    assert (seen["whole"], seen["streamed"], seen["continued"]) == (HELLO, HELLO, AGAIN)
    assert "I will echo it" in seen["thoughts"]
    assert seen["conversation"]
    assert seen["failure"].startswith("BadGatewayError")
    assert stand.dify.count("requests") == 5


def test_dify_s_own_provider(stand: Stand) -> None:
    seen = ask("ask_dify_plugin.py", stand)

    assert (seen["whole"], seen["continued"]) == (HELLO, AGAIN)
    assert seen["thinking"].startswith("<think>")
    assert "Incorrect API key" in seen["wrong key"]
    assert "upstream_run_failed" in seen["failure"]
    assert stand.dify.last_run()["user"] == "tests:u-1"


def test_pydantic_ai(stand: Stand) -> None:
    seen = ask("ask_pydantic_ai.py", stand)

    assert (seen["whole"], seen["continued"]) == (HELLO, AGAIN)
    assert "fake upstream error 500" in seen["failure"]
    assert stand.dify.count("requests") == 3


def test_haystack(stand: Stand) -> None:
    seen = ask("ask_haystack.py", stand)

    assert (seen["whole"], seen["continued"]) == (HELLO, AGAIN)
    assert seen["chunks"] > 1
    assert "fake upstream error 500" in seen["failure"]
    assert stand.dify.count("requests") == 3


@with_node
def test_cherry_studio(stand: Stand) -> None:
    seen = ask_node("ask_cherry_studio.mjs", stand)

    assert [turn["text"] for turn in seen["chat"]] == [
        HELLO,
        AGAIN,
        "ECHO prior=4 images=0 :: THINK third",
    ]
    assert "I will echo it" in seen["chat"][-1]["thoughts"]
    assert seen["whole"] == HELLO
    assert "fake upstream error 500" in seen["failure"]
    # The title has a conversation of its own, and so have the last two.
    assert len({str(run["conversation_id"]) for run in stand.dify.runs() if run.get("conversation_id")}) == 1


@with_node
def test_the_ai_sdk_and_langchain_for_node(stand: Stand) -> None:
    seen = ask_node("ask_ai_sdk.mjs", stand)

    assert (seen["whole"], seen["chat"], seen["langchain"]) == (HELLO, HELLO, HELLO)
    assert seen["continued"]["text"] == AGAIN
    assert seen["continued"]["tokens"] > 0
    assert "I will echo it" in seen["thoughts"]
    assert seen["failure"]["status"] == 502
    assert seen["responses"] == [HELLO, AGAIN]
