import pytest
from msgspec import structs

from opendify.errors import InvalidRequest
from opendify.translate.openai_messages import QUERY_FOR_FILES, QUERY_TO_CONTINUE, read_turn
from opendify.translate.turn import Attachment, HistoryMessage, HistoryRole, Turn
from opendify.wire.openai_chat import ChatCompletionRequest

PNG = "data:image/png;base64,aGk="
IMAGE = {"type": "image_url", "image_url": {"url": PNG}}


def system(content: object) -> dict[str, object]:
    return {"role": "system", "content": content}


def user(content: object) -> dict[str, object]:
    return {"role": "user", "content": content}


def assistant(content: object, **more: object) -> dict[str, object]:
    return {"role": "assistant", "content": content, **more}


def tool(content: object) -> dict[str, object]:
    return {"role": "tool", "tool_call_id": "c", "content": content}


def text(content: str, kind: str = "text") -> dict[str, object]:
    return {"type": kind, "text": content}


def read(*messages: object, **more: object) -> Turn:
    return read_turn(ChatCompletionRequest.model_validate({"model": "m", "messages": list(messages), **more}))


def asked(turn: Turn) -> Turn:
    """Without what only a later transcript is compared with."""
    history = tuple(structs.replace(message, attachment_digests=()) for message in turn.history)
    return structs.replace(turn, history=history, newest=None)


def said(role: HistoryRole, words: str, *names: str) -> HistoryMessage:
    return HistoryMessage(role, words, names)


@pytest.mark.parametrize(
    ("messages", "turn"),
    [
        pytest.param([user("Hi")], Turn("Hi"), id="one message"),
        pytest.param(
            [user("Hi"), assistant("Hello"), user("How?")],
            Turn("How?", (said("user", "Hi"), said("assistant", "Hello"))),
            id="a chat",
        ),
        pytest.param([system("Be brief"), user("Hi")], Turn("Hi", system="Be brief"), id="system"),
        pytest.param(
            [{"role": "developer", "content": "Be brief"}, user("Hi")],
            Turn("Hi", system="Be brief"),
            id="developer",
        ),
        pytest.param(
            [
                system("A"),
                user("Hi"),
                system("B"),
                assistant("Hello"),
                {"role": "developer", "content": "C"},
                user("How?"),
            ],
            Turn("How?", (said("user", "Hi"), said("assistant", "Hello")), system="A\n\nB\n\nC"),
            id="several systems, anywhere",
        ),
        pytest.param(
            [system(""), system([text("A"), text("B")]), user("Hi")],
            Turn("Hi", system="A\nB"),
            id="system parts",
        ),
        pytest.param([user("Hi"), system("Be brief")], Turn("Hi", system="Be brief"), id="system last"),
        pytest.param([user("One"), user("Two")], Turn("Two", (said("user", "One"),)), id="consecutive users"),
        pytest.param(
            [user("Hi"), assistant("Hel")],
            Turn(QUERY_TO_CONTINUE, (said("user", "Hi"), said("assistant", "Hel"))),
            id="assistant last",
        ),
        pytest.param(
            [user("Hi"), assistant("Hello"), system("Be brief")],
            Turn("Be brief", (said("user", "Hi"), said("assistant", "Hello"))),
            id="assistant last, then system",
        ),
        pytest.param(
            [user("Weather?"), assistant(None, tool_calls=[{"id": "c"}]), tool("Sunny")],
            Turn("Sunny", (said("user", "Weather?"),)),
            id="tool last",
        ),
        pytest.param(
            [user("Weather?"), tool("Sunny"), tool("Warm")],
            Turn("Warm", (said("user", "Weather?"), said("tool", "Sunny"))),
            id="several tools last",
        ),
        pytest.param(
            [user("Weather?"), tool("")],
            Turn(QUERY_TO_CONTINUE, (said("user", "Weather?"),)),
            id="an empty tool last",
        ),
        pytest.param(
            [
                user("Weather?"),
                {"role": "function", "name": "f", "content": "Sunny"},
                assistant("Sun"),
                user("So?"),
            ],
            Turn("So?", (said("user", "Weather?"), said("tool", "Sunny"), said("assistant", "Sun"))),
            id="function in the middle",
        ),
        pytest.param([system("Say hi")], Turn("Say hi"), id="no user"),
        pytest.param([system("A"), system("B")], Turn("B", system="A"), id="no user, several systems"),
        pytest.param(
            [assistant("Hello")], Turn(QUERY_TO_CONTINUE, (said("assistant", "Hello"),)), id="assistant alone"
        ),
        pytest.param([user([text("a"), text("b")])], Turn("a\nb"), id="text parts"),
        pytest.param(
            [user([text("a", "input_text"), text("b", "output_text")])],
            Turn("a\nb"),
            id="parts of the Responses API",
        ),
        pytest.param(
            [user("Bad"), assistant([{"type": "refusal", "refusal": "No."}]), user("Ok")],
            Turn("Ok", (said("user", "Bad"), said("assistant", "No."))),
            id="a refusal",
        ),
        pytest.param(
            [user("Hi"), assistant(None), assistant(""), user("You there?")],
            Turn("You there?", (said("user", "Hi"),)),
            id="messages that say nothing",
        ),
        pytest.param([user(" Hi\n")], Turn(" Hi\n"), id="white space stays"),
    ],
)
def test_a_transcript_becomes_one_turn(messages: list[object], turn: Turn) -> None:
    assert asked(read(*messages)) == turn


@pytest.mark.parametrize(
    "messages",
    [
        pytest.param([user("")], id="empty"),
        pytest.param([user(" \n")], id="blank"),
        pytest.param([user([])], id="no parts"),
        pytest.param([user([text("")])], id="an empty part"),
        pytest.param([user(None)], id="null"),
        pytest.param([{"role": "user"}], id="absent"),
        pytest.param([system("")], id="an empty system alone"),
    ],
)
def test_an_empty_newest_message_is_refused(messages: list[object]) -> None:
    with pytest.raises(InvalidRequest) as caught:
        read(*messages)

    assert (caught.value.param, caught.value.code) == ("messages[0].content", "invalid_value")


def test_the_empty_message_is_named_by_its_place() -> None:
    with pytest.raises(InvalidRequest) as caught:
        read(system("A"), user("Hi"), assistant("Hello"), user(""))

    assert caught.value.param == "messages[3].content"


def test_no_messages_are_a_missing_parameter() -> None:
    with pytest.raises(InvalidRequest, match="Missing required parameter: 'messages'") as caught:
        read_turn(ChatCompletionRequest(model="m"))

    assert (caught.value.param, caught.value.code) == ("messages", "missing_required_parameter")


def test_files_of_the_newest_message_are_attached() -> None:
    turn = read(user([text("What is it?"), IMAGE]))

    assert asked(turn) == Turn(
        "What is it?",
        attachments=(
            Attachment("image", "image.png", "image/png", "messages[0].content[1].image_url", content=b"hi"),
        ),
    )


def test_a_message_of_files_alone_gets_words() -> None:
    turn = read(user([IMAGE]))

    assert turn.query == QUERY_FOR_FILES
    assert len(turn.attachments) == 1


def test_files_of_earlier_messages_are_named() -> None:
    turn = read(
        user(
            [
                text("See"),
                IMAGE,
                {"type": "image_url", "image_url": {"url": "https://x.example/a%20b.png?sig=1"}},
                {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
                {"type": "file", "file": {"file_data": "data:,x", "filename": "a.txt"}},
                {"type": "file", "file": {"file_id": "file-1"}},
                {"type": "input_file", "file_url": "https://x.example/b.pdf"},
                {"type": "input_file", "file_data": "eA==", "filename": "c.txt"},
            ]
        ),
        assistant("Nice"),
        user("Why?"),
    )

    names = ("image", "a b.png", "audio", "a.txt", "file", "b.pdf", "c.txt")
    assert asked(turn).history == (said("user", "See", *names), said("assistant", "Nice"))
    assert turn.attachments == ()


def test_a_file_alone_is_part_of_the_history() -> None:
    turn = read(user([IMAGE]), assistant("Nice"), user("Why?"))

    assert asked(turn).history[0] == said("user", "", "image")


def test_the_newest_message_is_kept_as_a_later_transcript_shows_it() -> None:
    newest = read(user("Hi"), assistant("Nice"), user([text("See"), IMAGE])).newest

    assert newest == read(user([text("See"), IMAGE]), assistant("Nice"), user("Why?")).history[0]
    assert read(user("Hi"), assistant("Nice")).newest is None


def test_an_earlier_file_that_cannot_be_read_does_no_harm() -> None:
    broken = {"type": "image_url", "image_url": {"url": "data:image/png;base64,%%%"}}

    assert read(user([text("See"), broken]), assistant("What?"), user("Sorry")).query == "Sorry"


def test_a_transcript_that_ends_with_the_assistant_attaches_nothing() -> None:
    assert read(user([text("See"), IMAGE]), assistant("Nice")).attachments == ()


def test_inputs_and_stop_are_handed_on() -> None:
    turn = read(user("Hi"), inputs={"lang": "de"}, stop=["", "END"], metadata={"tone": "dry"})

    assert turn.inputs == {"lang": "de"}
    assert turn.stop == ("END",)


def test_one_stop_sequence_may_be_a_string() -> None:
    assert read(user("Hi"), stop="END").stop == ("END",)
    assert read(user("Hi"), stop="").stop == ()


def read_input(body_input: object, **more: object) -> Turn:
    return read_turn(ChatCompletionRequest.model_validate({"model": "m", "input": body_input, **more}))


@pytest.mark.parametrize(
    ("body_input", "turn"),
    [
        pytest.param("Hi", Turn("Hi"), id="a string"),
        pytest.param([user([text("Hi", "input_text")])], Turn("Hi"), id="one item"),
        pytest.param(
            [
                {"type": "message", "role": "developer", "content": "Be brief"},
                {"type": "message", **user("Hi")},
                {"type": "reasoning", "summary": []},
                {"role": "assistant", "content": [text("Hello", "output_text")]},
                {"type": "item_reference", "id": "x"},
                user("How?"),
            ],
            Turn("How?", (said("user", "Hi"), said("assistant", "Hello")), system="Be brief"),
            id="items that are no messages are passed over",
        ),
        pytest.param(
            [user("Hi"), {"type": "item_reference", "id": "x"}], Turn("Hi"), id="such an item comes last"
        ),
    ],
)
def test_a_body_of_the_responses_api_becomes_one_turn(body_input: object, turn: Turn) -> None:
    assert asked(read_input(body_input)) == turn


def test_instructions_come_before_other_systems() -> None:
    assert read_input([system("B"), user("Hi")], instructions="A").system == "A\n\nB"
    assert read(user("Hi"), instructions="A").system == "A"


def test_an_item_is_named_by_its_place_in_input() -> None:
    with pytest.raises(InvalidRequest) as caught:
        read_input([{"type": "reasoning", "summary": []}, user([])])

    assert caught.value.param == "input[1].content"


def test_messages_come_before_input() -> None:
    assert read(user("Hi"), input="Other").query == "Hi"
