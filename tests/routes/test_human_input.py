"""A run that waits for a person, asked and answered in a chat: the app before a simulated Dify."""

import json
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest
from flask import Flask

from opendify.app import create_app
from opendify.simulator import DEMO_MODELS, SimulatorOptions, create_simulator
from opendify.simulator.serving_context import EXTENSION
from tests.fakes.served_app import served
from tests.fakes.settings import make_settings

QUESTION = "Approve? [comment]\n\nReply with one of: **Yes**, **No**"
Said = tuple[str, str]


class Chat:
    """One client that shows its whole transcript, or, with `shows` off, only its new message."""

    def __init__(self, client: httpx.Client, model: str, *, shows: bool = True, stream: bool = False) -> None:
        self._client, self._model, self._shows, self._stream = client, model, shows, stream
        self.said: list[Said] = []

    def say(self, text: str) -> str:
        self.said.append(("user", text))
        shown = self.said if self._shows else self.said[-1:]
        body = {
            "model": self._model,
            "messages": [{"role": role, "content": content} for role, content in shown],
            "stream": self._stream,
        }
        headers = {} if self._shows else {"X-OpenWebUI-Chat-Id": "chat-1"}
        response = self._client.post("/v1/chat/completions", json=body, headers=headers)
        assert response.status_code == 200, response.text
        answer = _streamed(response) if self._stream else response.json()["choices"][0]["message"]["content"]
        self.said.append(("assistant", answer))
        return answer


def _streamed(response: httpx.Response) -> str:
    payloads = [line[6:] for line in response.text.splitlines() if line.startswith("data: {")]
    assert response.text.endswith("data: [DONE]\n\n")
    choices = [choice for payload in payloads for choice in json.loads(payload)["choices"]]
    return "".join(choice["delta"].get("content") or "" for choice in choices)


@contextmanager
def stand(version: str = "1.16.1", **environ: str) -> Iterator[tuple[Flask, httpx.Client]]:
    options = SimulatorOptions(version=version, token_delay_seconds=0, naming_delay_seconds=0)
    dify = create_simulator(options)
    with served(dify) as dify_url:
        settings = make_settings(dict(DEMO_MODELS), DIFY_API_BASE=f"{dify_url}/v1", **environ)
        with served(create_app(settings)) as url, httpx.Client(base_url=url, timeout=30) as client:
            yield dify, client


def runs(dify: Flask) -> int:
    return len(dify.extensions[EXTENSION].store.requests)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("model", ["demo-chatflow", "demo-workflow"])
def test_a_reply_that_chooses_goes_on_with_the_run(model: str, stream: bool) -> None:
    with stand() as (dify, client):
        chat = Chat(client, model, stream=stream)

        assert chat.say("PAUSE please").startswith(QUESTION)
        assert "ECHO" in chat.say("Yes\nGo ahead")

        [form] = dify.extensions[EXTENSION].store.forms.values()
        assert (form.chosen, form.inputs) == ("yes", {"comment": "Go ahead"})
        assert runs(dify) == 1


def test_the_conversation_goes_on_after_the_question() -> None:
    with stand() as (dify, client):
        chat = Chat(client, "demo-chatflow")
        chat.say("PAUSE please")
        chat.say("yes")

        chat.say("And now?")

        assert len(dify.extensions[EXTENSION].store.conversations) == 1
        assert runs(dify) == 2


def test_a_client_that_shows_only_its_new_message_can_answer() -> None:
    with stand() as (dify, client):
        chat = Chat(client, "demo-chatflow", shows=False)
        chat.say("PAUSE please")

        assert "ECHO" in chat.say("No")
        assert [form.chosen for form in dify.extensions[EXTENSION].store.forms.values()] == ["no"]


def test_a_reply_that_chooses_nothing_is_a_new_question() -> None:
    with stand() as (dify, client):
        chat = Chat(client, "demo-chatflow")
        chat.say("PAUSE please")

        assert "Tell me more" in chat.say("Tell me more")
        assert [form.chosen for form in dify.extensions[EXTENSION].store.forms.values()] == [None]
        assert runs(dify) == 2


def test_another_caller_who_shows_the_same_cannot_answer() -> None:
    with stand() as (dify, client):
        chat = Chat(client, "demo-chatflow")
        chat.say("PAUSE please")
        client.headers["Authorization"] = "Bearer somebody-else"

        chat.say("Yes")

        assert not any(form.chosen for form in dify.extensions[EXTENSION].store.forms.values())


def test_a_form_that_was_answered_elsewhere_gives_what_the_run_says() -> None:
    with stand() as (dify, client):
        chat = Chat(client, "demo-chatflow")
        chat.say("PAUSE please")
        [form] = dify.extensions[EXTENSION].store.forms.values()
        form.chosen = "yes"

        assert "ECHO" in chat.say("Yes")
        assert runs(dify) == 1


def test_a_form_that_is_gone_leaves_an_ordinary_turn() -> None:
    with stand() as (dify, client):
        chat = Chat(client, "demo-chatflow")
        chat.say("PAUSE please")
        dify.extensions[EXTENSION].store.forms.clear()

        assert "Yes" in chat.say("Yes")
        assert runs(dify) == 2


def test_without_a_place_to_remember_it_a_reply_is_an_ordinary_turn() -> None:
    with stand(ANSWER_STORE="off") as (dify, client):
        chat = Chat(client, "demo-chatflow")

        assert chat.say("PAUSE please").startswith(QUESTION)
        chat.say("Yes")

        assert runs(dify) == 2
