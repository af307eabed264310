"""What Dify remembers: reading it back, making sure of it, deleting it."""

from contextlib import suppress
from urllib.parse import parse_qs

import httpx
import pytest

from opendify.dify.client import DifyClient
from opendify.dify.memory import DifyMemory
from opendify.errors import ConversationNotFound, DifyError
from opendify.records import AppProfile
from opendify.settings import AppMode, DifyApp
from opendify.translate.turn import HistoryMessage
from tests.fakes.mock_dify import Answer, MockDify, refusal
from tests.fakes.settings import make_settings
from tests.fakes.waiting import wait_until

# As 1.12.1 says it; 0.15.3 ends after the first sentence.
GONE = refusal(
    404,
    "not_found",
    "Conversation Not Exists. You have requested this URI [/v1/messages] but did you mean /v1/messages ?",
)
SETTINGS = make_settings({"bot": {"api_key": "app-bot", "mode": "chat"}})


@pytest.fixture
def app() -> DifyApp:
    return SETTINGS.models[0]


@pytest.fixture
def memory(dify: MockDify) -> DifyMemory:
    return DifyMemory(DifyClient(SETTINGS, transport=dify.transport))


def page(*messages: object) -> Answer:
    return lambda request: httpx.Response(200, json={"limit": 100, "has_more": False, "data": messages})


def message(query: object, answer: object) -> dict[str, object]:
    return {"id": "m", "conversation_id": "c", "query": query, "answer": answer, "status": "normal"}


def test_messages_are_read_back_oldest_first(memory: DifyMemory, app: DifyApp, dify: MockDify) -> None:
    """Dify's page holds the newest messages, and lists them oldest first."""
    dify.answers["other"] = page(message("Hi", "Hello"), message("How?", "Fine"))

    assert memory.read_messages(app, "c&1", "team:ann") == [
        HistoryMessage("user", "Hi"),
        HistoryMessage("assistant", "Hello"),
        HistoryMessage("user", "How?"),
        HistoryMessage("assistant", "Fine"),
    ]
    (request,) = dify.asked("other")
    assert (request.method, request.url.path) == ("GET", "/v1/messages")
    assert parse_qs(request.url.query.decode()) == {
        "conversation_id": ["c&1"],
        "user": ["team:ann"],
        "limit": ["100"],
    }
    assert request.headers["Authorization"] == "Bearer app-bot"


@pytest.mark.parametrize(
    ("messages", "said"),
    [
        pytest.param([], [], id="nothing"),
        pytest.param([message("Hi", "")], [HistoryMessage("user", "Hi")], id="a cut answer"),
        pytest.param([message("Hi", None)], [HistoryMessage("user", "Hi")], id="no answer"),
        pytest.param([message("", "Welcome")], [HistoryMessage("assistant", "Welcome")], id="an opening"),
        pytest.param(["Hi", None, 7, {}], [], id="shapes that are no messages"),
        pytest.param([message(7, ["x"])], [], id="texts that are no texts"),
    ],
)
def test_what_is_no_text_is_left_out(
    memory: DifyMemory, app: DifyApp, dify: MockDify, messages: list[object], said: list[HistoryMessage]
) -> None:
    dify.answers["other"] = page(*messages)

    assert memory.read_messages(app, "c", "u") == said


@pytest.mark.parametrize("shape", [[], "no", None, {}, {"data": None}, {"data": 7}, {"data": "no"}])
def test_an_answer_of_another_shape_is_no_memory(
    memory: DifyMemory, app: DifyApp, dify: MockDify, shape: object
) -> None:
    dify.answers["other"] = lambda request: httpx.Response(200, json=shape)
    said: list[HistoryMessage] = []

    with suppress(DifyError):
        said = memory.read_messages(app, "c", "u")

    assert said == []


def test_messages_of_a_conversation_that_is_gone_are_not_found(
    memory: DifyMemory, app: DifyApp, dify: MockDify
) -> None:
    dify.answers["other"] = lambda request: GONE

    with pytest.raises(ConversationNotFound):
        memory.read_messages(app, "c", "u")


@pytest.mark.parametrize(
    ("mode", "version", "asks"),
    [
        ("advanced-chat", "1.12.1", False),
        ("advanced-chat", "1.13.0", True),
        ("advanced-chat", "1.14.2", True),
        ("advanced-chat", "1.14.0-rc1", True),
        ("advanced-chat", "1.15.0", False),
        ("advanced-chat", "1.16.1", False),
        ("advanced-chat", "0.15.3", False),
        ("advanced-chat", "2.13.0", False),
        ("advanced-chat", "", False),
        ("chat", "1.13.3", False),
        ("agent-chat", "1.13.3", False),
    ],
)
def test_only_dify_s_that_fall_silent_are_asked_first(
    memory: DifyMemory, app: DifyApp, dify: MockDify, mode: AppMode, version: str, asks: bool
) -> None:
    """1.13.0 to 1.14.2 say nothing for five minutes where a chatflow's conversation is unknown."""
    dify.answers["other"] = lambda request: GONE
    profile = AppProfile(mode, version=version)

    if asks:
        with pytest.raises(ConversationNotFound):
            memory.check(app, profile, "c", "u")
    else:
        memory.check(app, profile, "c", "u")

    assert len(dify.asked("other")) == int(asks)


def test_a_conversation_that_is_there_passes(memory: DifyMemory, app: DifyApp, dify: MockDify) -> None:
    dify.answers["other"] = page(message("Hi", "Hello"))

    memory.check(app, AppProfile("advanced-chat", version="1.13.3"), "c", "u")

    (request,) = dify.asked("other")
    assert parse_qs(request.url.query.decode())["limit"] == ["1"]


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(lambda request: httpx.Response(204), id="1.12.1"),
        pytest.param(lambda request: httpx.Response(200, json={"result": "success"}), id="0.15.3"),
        pytest.param(lambda request: GONE, id="gone already"),
        pytest.param(lambda request: httpx.Response(500), id="a failure"),
    ],
)
def test_a_conversation_is_deleted_in_the_background(
    memory: DifyMemory, app: DifyApp, dify: MockDify, answer: Answer
) -> None:
    dify.answers["other"] = answer

    memory.delete_later(app, "c-1", "team:ann")
    wait_until(lambda: bool(dify.asked("other")))

    (request,) = dify.asked("other")
    assert (request.method, request.url.path) == ("DELETE", "/v1/conversations/c-1")
    assert dify.bodies("other") == [{"user": "team:ann"}]


def test_deleting_raises_nothing_where_dify_cannot_be_reached(
    memory: DifyMemory, app: DifyApp, dify: MockDify
) -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    dify.answers["other"] = refuse

    memory.delete_later(app, "c-1", "team:ann")
    wait_until(lambda: bool(dify.asked("other")))


def test_a_failure_of_dify_s_is_told(memory: DifyMemory, app: DifyApp, dify: MockDify) -> None:
    dify.answers["other"] = lambda request: httpx.Response(500)

    with pytest.raises(DifyError):
        memory.read_messages(app, "c", "u")
