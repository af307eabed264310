import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from opendify.conversations.replay import Templates, first_turn_text, history_text
from opendify.records import AppProfile, InputField
from opendify.settings import AppMode, DifyApp, IntoInput, Placement
from opendify.translate.dify_request import RunText
from opendify.translate.turn import HistoryMessage, Turn

# Machines that build may be slow; what counts is the answer.
unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


HISTORY = (HistoryMessage("user", "Hi"), HistoryMessage("assistant", "Hello"))
DIALOGUE = "User: Hi\n\nAssistant: Hello"
SYSTEM_BLOCK = "<instructions>\nBe brief\n</instructions>"
HISTORY_BLOCK = f"<conversation_so_far>\n{DIALOGUE}\n</conversation_so_far>"
TURN = Turn("How?", HISTORY, "Be brief")
OMITTED = "[Earlier messages are left out.]"


def app(system: Placement = "auto", history: Placement = "auto") -> DifyApp:
    return DifyApp(
        name="m", api_key="app-x", api_base="https://dify.example/v1", system=system, history=history
    )


def profile(mode: AppMode, *names: str) -> AppProfile:
    return AppProfile(mode, form=tuple(InputField(name, "paragraph") for name in names))


def place(
    mode: AppMode, *names: str, system: Placement = "auto", history: Placement = "auto", turn: Turn = TURN
) -> RunText:
    return first_turn_text(turn, app(system, history), profile(mode, *names), max_chars=1_000)


AUTO: tuple[Placement, Placement] = ("auto", "auto")
QUERY: tuple[Placement, Placement] = ("query", "query")
OFF: tuple[Placement, Placement] = ("off", "off")
NAMED: tuple[Placement, Placement] = (IntoInput("rules"), IntoInput("memory"))
BOTH_IN_FRONT = f"{SYSTEM_BLOCK}\n\n{HISTORY_BLOCK}\n\nHow?"


@pytest.mark.parametrize(
    ("mode", "declared", "placements", "query", "inputs"),
    [
        pytest.param("chat", [], AUTO, BOTH_IN_FRONT, {}, id="auto: in front of the query"),
        pytest.param(
            "advanced-chat",
            ["system"],
            AUTO,
            f"{HISTORY_BLOCK}\n\nHow?",
            {"system": "Be brief"},
            id="auto: an input for system",
        ),
        pytest.param(
            "agent-chat",
            ["history"],
            AUTO,
            f"{SYSTEM_BLOCK}\n\nHow?",
            {"history": DIALOGUE},
            id="auto: an input for history",
        ),
        pytest.param(
            "chat",
            ["chat_history", "messages", "instructions", "system_prompt"],
            AUTO,
            "How?",
            {"system_prompt": "Be brief", "messages": DIALOGUE},
            id="auto: the best of several",
        ),
        pytest.param("chat", ["history", "system"], QUERY, BOTH_IN_FRONT, {}, id="query, despite inputs"),
        pytest.param("chat", ["history", "system"], OFF, "How?", {}, id="off"),
        pytest.param("chat", [], NAMED, "How?", {"rules": "Be brief", "memory": DIALOGUE}, id="named inputs"),
        pytest.param("workflow", [], AUTO, "How?", {}, id="a workflow, auto: the message alone"),
        pytest.param("completion", [], AUTO, "How?", {}, id="a completion app, auto: the message alone"),
        pytest.param(
            "workflow",
            ["history", "system"],
            AUTO,
            "How?",
            {"system": "Be brief", "history": DIALOGUE},
            id="a workflow that declares inputs",
        ),
        pytest.param("workflow", [], QUERY, BOTH_IN_FRONT, {}, id="a workflow, query"),
        pytest.param(
            "workflow",
            [],
            NAMED,
            "How?",
            {"rules": "Be brief", "memory": DIALOGUE},
            id="a workflow, named inputs",
        ),
        pytest.param("workflow", ["history", "system"], OFF, "How?", {}, id="a workflow, off"),
    ],
)
def test_history_and_system_go_where_the_app_can_take_them(
    mode: AppMode,
    declared: list[str],
    placements: tuple[Placement, Placement],
    query: str,
    inputs: dict[str, object],
) -> None:
    system, history = placements

    assert place(mode, *declared, system=system, history=history) == RunText(query, inputs)


@pytest.mark.parametrize(
    ("turn", "query"),
    [
        pytest.param(Turn("Hi"), "Hi", id="nothing"),
        pytest.param(Turn("How?", system="Be brief"), f"{SYSTEM_BLOCK}\n\nHow?", id="system alone"),
        pytest.param(Turn("How?", HISTORY), f"{HISTORY_BLOCK}\n\nHow?", id="history alone"),
    ],
)
def test_only_what_there_is_is_told(turn: Turn, query: str) -> None:
    assert place("chat", turn=turn) == RunText(query, {})


def test_a_clients_own_input_stands() -> None:
    turn = Turn("How?", system="Be brief", inputs={"system": "mine", "x": 1})

    assert place("chat", "system", turn=turn) == RunText("How?", {"system": "mine", "x": 1})


def test_the_turns_own_inputs_are_left_as_they_are() -> None:
    inputs: dict[str, object] = {"x": 1}

    place("chat", "system", turn=Turn("How?", system="Be brief", inputs=inputs))

    assert inputs == {"x": 1}


def test_an_operator_can_change_the_wording() -> None:
    templates = Templates(system="Rules: {text}", history="Before:\n{text}", query="Now: {text}")

    text = first_turn_text(TURN, app(), profile("chat"), max_chars=1_000, templates=templates)

    assert text.query == f"Rules: Be brief\n\nBefore:\n{DIALOGUE}\n\nNow: How?"


def test_text_that_looks_like_a_template_is_left_alone() -> None:
    turn = Turn("{text}", (HistoryMessage("user", "{text} {0}"),), "{text}")

    assert place("chat", turn=turn).query == (
        "<instructions>\n{text}\n</instructions>\n\n"
        "<conversation_so_far>\nUser: {text} {0}\n</conversation_so_far>\n\n{text}"
    )


@pytest.mark.parametrize(
    ("message", "line"),
    [
        pytest.param(HistoryMessage("user", "Hi"), "User: Hi", id="user"),
        pytest.param(HistoryMessage("assistant", "Hello"), "Assistant: Hello", id="assistant"),
        pytest.param(HistoryMessage("tool", "42"), "Tool: 42", id="tool"),
        pytest.param(
            HistoryMessage("user", "See", ("a.png", "b.pdf")),
            "User: See [File: a.png] [File: b.pdf]",
            id="files",
        ),
        pytest.param(HistoryMessage("user", "", ("a.png",)), "User: [File: a.png]", id="a file alone"),
        pytest.param(HistoryMessage("user", "a\nb"), "User: a\nb", id="several lines"),
    ],
)
def test_a_message_is_a_line_of_a_dialogue(message: HistoryMessage, line: str) -> None:
    assert history_text([message], 1_000) == line


@pytest.mark.parametrize(
    ("max_chars", "text"),
    [
        pytest.param(1_000, "User: one\n\nAssistant: two\n\nUser: three", id="all fit"),
        pytest.param(38, "User: one\n\nAssistant: two\n\nUser: three", id="all just fit"),
        pytest.param(62, "User: one\n\nAssistant: two\n\nUser: three", id="room to spare"),
    ],
)
def test_the_dialogue_is_told_in_order(max_chars: int, text: str) -> None:
    history = [
        HistoryMessage("user", "one"),
        HistoryMessage("assistant", "two"),
        HistoryMessage("user", "three"),
    ]

    assert history_text(history, max_chars) == text


def test_the_oldest_messages_are_left_out_and_that_is_said() -> None:
    history = [
        HistoryMessage("user", "x" * 500),
        HistoryMessage("assistant", "two"),
        HistoryMessage("user", "three"),
    ]

    assert history_text(history, 100) == f"{OMITTED}\n\nAssistant: two\n\nUser: three"


def test_nothing_older_comes_before_what_was_left_out() -> None:
    history = [
        HistoryMessage("user", "one"),
        HistoryMessage("user", "x" * 500),
        HistoryMessage("user", "three"),
    ]

    assert history_text(history, 100) == f"{OMITTED}\n\nUser: three"


def test_no_history_is_no_text() -> None:
    assert history_text([], 1_000) == ""


_messages = st.builds(
    HistoryMessage, st.sampled_from(["user", "assistant", "tool"]), st.text("ab ", max_size=30)
)


@unhurried
@given(st.lists(_messages, max_size=30), st.integers(len(OMITTED), 400))
def test_the_history_never_exceeds_its_budget(history: list[HistoryMessage], max_chars: int) -> None:
    assert len(history_text(history, max_chars)) <= max_chars
