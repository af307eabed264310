import pytest

from opendify.translate.dify_outputs import WorkflowText, answer_from_outputs
from opendify.wire.dify import NodeData, TextChunkData

NODES = {"llm": "llm", "agent": "agent", "code": "code", "end": "end", "template": "template-transform"}


def stream(*chunks: tuple[str, str], known: bool = True) -> tuple[WorkflowText, str]:
    text = WorkflowText()
    for node, kind in NODES.items() if known else ():
        text.announce(NodeData(node, kind))
    sent = "".join(text.feed(TextChunkData(piece, [node, "text"])) for node, piece in chunks)
    return text, sent


@pytest.mark.parametrize(
    ("outputs", "name", "answer"),
    [
        pytest.param({"x": "Hi"}, None, "Hi", id="the only output"),
        pytest.param({"x": "Hi", "n": 1, "ok": True}, None, "Hi", id="the only text among others"),
        pytest.param({"x": "no", "text": "Hi"}, None, "Hi", id="text"),
        pytest.param({"x": "no", "answer": "Hi"}, None, "Hi", id="answer"),
        pytest.param({"x": "no", "result": "Hi"}, None, "Hi", id="result"),
        pytest.param({"x": "no", "output": "Hi"}, None, "Hi", id="output"),
        pytest.param(
            {"output": "4", "result": "3", "answer": "2", "text": "1"}, None, "1", id="text is best"
        ),
        pytest.param(
            {"text": 5, "a": "x", "b": "y"},
            None,
            '{"text":5,"a":"x","b":"y"}',
            id="a usual name that is no text",
        ),
        pytest.param({"a": "x", "b": "y"}, None, '{"a":"x","b":"y"}', id="several, none with a usual name"),
        pytest.param({"n": 1}, None, '{"n":1}', id="no text"),
        pytest.param({"x": ""}, None, "", id="an empty text"),
        pytest.param({}, None, "", id="no outputs"),
        pytest.param({"a": "x", "b": "y"}, "b", "y", id="the configured one"),
        pytest.param({"a": "x", "text": "no"}, "a", "x", id="the configured one before usual names"),
        pytest.param({"a": "x", "b": [1, 2]}, "b", "[1,2]", id="the configured one, no text"),
        pytest.param({"a": "x", "b": None}, "b", "", id="the configured one, null"),
        pytest.param({"a": "x"}, "b", "", id="the configured one, missing"),
        pytest.param({"text": "Hi", "n": 1}, "json", '{"text":"Hi","n":1}', id="all as JSON"),
        pytest.param({}, "json", "", id="nothing as JSON"),
        pytest.param(
            {"a": "你\u2028好", "b": "y"}, None, '{"a":"你\\u2028好","b":"y"}', id="any text in JSON"
        ),
    ],
)
def test_the_answer_among_the_outputs(outputs: dict[str, object], name: str | None, answer: str) -> None:
    assert answer_from_outputs(outputs, name) == answer


@pytest.mark.parametrize(
    ("chunks", "sent"),
    [
        pytest.param([("llm", "Hel"), ("llm", "lo")], "Hello", id="a model"),
        pytest.param([("agent", "Hello")], "Hello", id="an agent node"),
        pytest.param([("code", "42")], "", id="computed"),
        pytest.param([("template", "Dear Ann")], "", id="a template"),
        pytest.param([("llm", "a"), ("end", "\n"), ("llm", "b")], "a\nb", id="two models"),
        pytest.param([("llm", "a"), ("end", "\n"), ("code", "42")], "a", id="computed after a model"),
        pytest.param([("code", "42"), ("end", "\n"), ("llm", "a")], "a", id="a model after computed"),
        pytest.param(
            [("llm", "a"), ("end", "\n"), ("code", "42"), ("end", "\n"), ("llm", "b")],
            "a\nb",
            id="computed between two models",
        ),
        pytest.param([("llm", "a"), ("end", "\n")], "a", id="a separator that nothing follows"),
        pytest.param(
            [("llm", "a"), ("llm", "\n\n"), ("llm", "b")], "a\n\nb", id="line breaks of the model's own"
        ),
        pytest.param([("unknown", "Hi")], "Hi", id="a node that was not announced"),
    ],
)
def test_only_live_text_is_sent_at_once(chunks: list[tuple[str, str]], sent: str) -> None:
    assert stream(*chunks)[1] == sent


def test_a_separator_may_bear_the_id_of_a_node_that_has_not_started() -> None:
    assert stream(("llm", "a"), ("end", "\n"), ("llm", "b"), known=False)[1] == "a\nb"


def test_a_chunk_without_selector_is_live() -> None:
    text = WorkflowText()

    assert text.feed(TextChunkData("Hi")) == "Hi"
    assert text.feed(TextChunkData("!", [])) == "!"


@pytest.mark.parametrize(
    ("chunks", "answer", "rest"),
    [
        pytest.param([("llm", "Hel")], "Hello", "lo", id="the rest"),
        pytest.param([("llm", "Hello")], "Hello", "", id="whole already"),
        pytest.param([("llm", "Hello")], "HELLO", "", id="what was sent stands"),
        pytest.param([("code", "42")], "42", "42", id="nothing was sent"),
        pytest.param([("llm", "Hi"), ("llm", "\n")], "Hi\n", "", id="a last line break was sent"),
    ],
)
def test_the_end_completes_what_was_sent(chunks: list[tuple[str, str]], answer: str, rest: str) -> None:
    assert stream(*chunks)[0].complete(answer) == rest


def test_text_was_sent_only_if_there_was_any() -> None:
    assert not stream()[0].was_sent
    assert not stream(("code", "42"))[0].was_sent
    assert not stream(("llm", ""))[0].was_sent
    assert stream(("llm", "a"))[0].was_sent
