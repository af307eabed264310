from collections.abc import Sequence

import pytest

from opendify.errors import DifyAppError, DifyError, DifyRunFailed, GatewayError, InvalidInput
from opendify.settings import AppMode
from opendify.translate.dify_reply import ChatReplyReader, ReplyReader, WorkflowReplyReader, reply_reader
from opendify.translate.turn import (
    CompletionUsage,
    Price,
    ReplyEnded,
    ReplyEvent,
    ReplyStarted,
    TextDelta,
    TextReplaced,
    ThoughtDelta,
    collect_reply,
)
from opendify.wire import dify

IDS = {"task_id": "tid", "message_id": "mid", "conversation_id": "cid"}
STARTED = ReplyStarted("tid", "mid", "cid")
CHAT_MODES: tuple[AppMode, ...] = ("chat", "agent-chat", "agent", "advanced-chat", "completion")


def message(answer: str | None) -> dify.Message:
    return dify.Message(**IDS, answer=answer)


def agent_message(answer: str) -> dify.AgentMessage:
    return dify.AgentMessage(**IDS, answer=answer)


def message_end(usage: dify.Usage | None = None) -> dify.MessageEnd:
    return dify.MessageEnd(**IDS, metadata=dify.Metadata(usage))


def workflow_finished(
    status: str | None = "succeeded",
    outputs: dict[str, object] | None = None,
    error: str | None = None,
    total_tokens: int | None = None,
) -> dify.WorkflowFinished:
    return dify.WorkflowFinished(**IDS, data=dify.WorkflowFinishedData(status, outputs, error, total_tokens))


def text_chunk(text: str | None, node: str = "llm") -> dify.TextChunk:
    return dify.TextChunk(task_id="tid", data=dify.TextChunkData(text, [node, "text"]))


def node_started(node: str, kind: str) -> dify.NodeStarted:
    return dify.NodeStarted(task_id="tid", data=dify.NodeData(node, kind))


def read(
    events: Sequence[dify.StreamEvent], mode: AppMode = "chat", output: str | None = None
) -> list[ReplyEvent]:
    reader = reply_reader(mode, output)
    return [*(reply for event in events for reply in reader.feed(event)), *reader.close()]


def text_of(events: Sequence[dify.StreamEvent], mode: AppMode = "chat", output: str | None = None) -> str:
    return collect_reply(read(events, mode, output)).text


def failure_of(
    events: Sequence[dify.StreamEvent], mode: AppMode = "chat"
) -> tuple[list[ReplyEvent], GatewayError]:
    reader: ReplyReader = reply_reader(mode, None)
    replies: list[ReplyEvent] = []
    with pytest.raises(GatewayError) as caught:  # noqa: PT012 - What came before the failure is the point.
        for event in events:
            replies.extend(reader.feed(event))
        replies.extend(reader.close())
    return replies, caught.value


@pytest.mark.parametrize("mode", CHAT_MODES)
def test_messages_are_the_answer_and_message_end_is_its_end(mode: AppMode) -> None:
    usage = dify.Usage(10, 2, 12, "0.0000100", "USD")

    assert read([message("Hel"), message("lo"), message_end(usage)], mode) == [
        STARTED,
        TextDelta("Hel"),
        TextDelta("lo"),
        ReplyEnded(CompletionUsage(10, 2), Price("0.0000100", "USD")),
    ]


@pytest.mark.parametrize(
    ("events", "text"),
    [
        pytest.param(
            [message("a"), message(""), message(None), message("b"), message_end()],
            "ab",
            id="empty and null deltas",
        ),
        pytest.param([message_end()], "", id="an empty answer"),
        pytest.param(
            [message("a"), dify.MessageFile(**IDS, answer="b"), message_end()],
            "ab",
            id="message_file with answer",
        ),
        pytest.param(
            [message("a"), dify.MessageFile(**IDS, type="image"), message_end()],
            "a",
            id="message_file without answer and without a file",
        ),
        pytest.param(
            [agent_message("a"), dify.AgentThought(**IDS, id="t"), agent_message("b"), message_end()],
            "ab",
            id="agent messages; thoughts repeat them",
        ),
        pytest.param(
            [message("a"), dify.UnknownEvent("tts_message"), message_end()], "a", id="an unknown event"
        ),
        pytest.param([message("a"), message_end(), message("b")], "a", id="text after the end"),
        pytest.param(
            [message("a"), message_end(), dify.ErrorEvent(message="boom")], "a", id="a failure after the end"
        ),
        pytest.param([message("a"), message_end(), dify.WorkflowPaused()], "a", id="a pause after the end"),
    ],
)
def test_a_chat_apps_text(events: list[dify.StreamEvent], text: str) -> None:
    assert text_of(events) == text


def test_an_unknown_event_before_the_first_tells_no_ids() -> None:
    workflow_started = dify.WorkflowStarted(task_id="rid", workflow_run_id="rid")

    assert read([dify.UnknownEvent("warning"), workflow_started, message("a"), message_end()])[0] == STARTED


def test_reasoning_chunks_are_thoughts() -> None:
    thinking = dify.ReasoningChunk(**IDS, data=dify.ReasoningChunkData("Hm"))
    last = dify.ReasoningChunk(**IDS, data=dify.ReasoningChunkData(""))

    assert read([thinking, last, message("a"), message_end()], "advanced-chat") == [
        STARTED,
        ThoughtDelta("Hm"),
        TextDelta("a"),
        ReplyEnded(),
    ]


def test_moderation_replaces_the_text() -> None:
    replaced = dify.MessageReplace(**IDS, answer="No.")

    assert read([message("bad"), replaced, message_end()]) == [
        STARTED,
        TextDelta("bad"),
        TextReplaced("No."),
        ReplyEnded(),
    ]


def test_a_replacement_by_nothing_leaves_nothing() -> None:
    assert text_of([message("bad"), dify.MessageReplace(**IDS), message_end()]) == ""


def test_moderation_before_any_text_is_not_undone_by_the_runs_outputs() -> None:
    events: list[dify.StreamEvent] = [
        dify.MessageReplace(**IDS, answer="No."),
        workflow_finished(outputs={"answer": "forbidden"}),
        message_end(),
    ]

    assert text_of(events, "advanced-chat") == "No."


@pytest.mark.parametrize(
    "ending",
    [
        pytest.param([workflow_finished(outputs={"answer": "Hi"}), message_end()], id="up to 1.12"),
        pytest.param([workflow_finished(outputs={"answer": "Hi"})], id="1.13.0, no message_end"),
        pytest.param([message_end(), workflow_finished(outputs={"answer": "Hi"})], id="from 1.13.1 on"),
        pytest.param([workflow_finished("partial-succeeded"), message_end()], id="partial-succeeded"),
        pytest.param(
            [workflow_finished("stopped", error="Stopped by output moderation."), message_end()],
            id="stopped by moderation",
        ),
    ],
)
def test_a_chatflow_ends_well_in_every_version(ending: list[dify.StreamEvent]) -> None:
    assert read([message("Hi"), *ending], "advanced-chat") == [STARTED, TextDelta("Hi"), ReplyEnded()]


def test_a_chatflow_that_streamed_nothing_tells_its_answer_at_the_end() -> None:
    assert text_of([workflow_finished(outputs={"answer": "Hi"}), message_end()], "advanced-chat") == "Hi"


def test_an_annotations_answer_is_whole_although_the_run_is_called_failed() -> None:
    synthetic = workflow_finished("failed", error="Workflow stream ended without a terminal event")

    assert text_of([message("Canned."), message_end(), synthetic], "advanced-chat") == "Canned."


@pytest.mark.parametrize(
    ("events", "kind"),
    [
        pytest.param(
            [dify.ErrorEvent(code="completion_request_error", message="x")], DifyRunFailed, id="error"
        ),
        pytest.param([workflow_finished("failed", error="boom")], DifyRunFailed, id="failed run"),
        pytest.param(
            [workflow_finished("failed", error="boom"), dify.ErrorEvent(message="Run failed: boom")],
            DifyRunFailed,
            id="failed run, then error",
        ),
        pytest.param([dify.WorkflowPaused(**IDS)], DifyAppError, id="paused"),
        pytest.param([], DifyError, id="cut"),
        pytest.param([dify.UnknownEvent("node_retry")], DifyError, id="cut after an event of no use"),
    ],
)
@pytest.mark.parametrize("mode", ["chat", "advanced-chat"])
def test_a_failure_comes_after_the_text_before_it(
    mode: AppMode, events: list[dify.StreamEvent], kind: type[GatewayError]
) -> None:
    replies, error = failure_of([message("Hel"), *events], mode)

    assert replies == [STARTED, TextDelta("Hel")]
    assert type(error) is kind


def test_a_stream_that_was_only_a_ping_is_a_failure() -> None:
    replies, error = failure_of([])

    assert replies == []
    assert type(error) is DifyError


def test_a_chatflow_since_1_15_refuses_inputs_by_a_failed_run() -> None:
    synthetic: list[dify.StreamEvent] = [
        dify.WorkflowStarted(task_id="rid", workflow_run_id="rid"),
        dify.WorkflowFinished(
            task_id="rid", data=dify.WorkflowFinishedData("failed", None, "name is required in input form")
        ),
    ]

    replies, error = failure_of(synthetic, "advanced-chat")

    assert replies == []
    assert type(error) is InvalidInput
    assert error.param == "inputs.name"


@pytest.mark.parametrize(
    ("streamed", "final", "text"),
    [
        pytest.param(["The answer is 42."], ["The answer is 42."], "The answer is 42.", id="the same"),
        pytest.param(
            ["Working. ", "The answer is 42."],
            ["The answer is 42."],
            "Working. The answer is 42.",
            id="after other words",
        ),
        pytest.param(
            ["Working. The answer is 42.\n"],
            ["The answer is 42."],
            "Working. The answer is 42.\n",
            id="white space behind what was streamed",
        ),
        pytest.param(
            ["The answer is 42."],
            ["\nThe answer is 42.\n"],
            "The answer is 42.",
            id="white space around the final one",
        ),
        pytest.param(
            ["Working. The answer"],
            ["The answer is 42."],
            "Working. The answer is 42.",
            id="only its start was streamed",
        ),
        pytest.param(
            ["Working. The answer "],
            ["The answer is 42."],
            "Working. The answer is 42.",
            id="only its start was streamed, with a space",
        ),
        pytest.param(["Working."], ["42."], "Working.\n\n42.", id="none of it was streamed"),
        pytest.param(["Look at A"], ["Apples."], "Look at A\n\nApples.", id="alike by chance"),
        pytest.param(
            ["Working. The answer is 42."],
            ["", "The answer is 42."],
            "Working. The answer is 42.",
            id="an empty delta first",
        ),
        pytest.param([], ["The answer ", "is 42."], "The answer is 42.", id="1.15.0 streams messages alone"),
        pytest.param(["Hi"], [], "Hi", id="no final message"),
    ],
)
def test_an_agents_answer_comes_once(streamed: list[str], final: list[str], text: str) -> None:
    events: list[dify.StreamEvent] = [*map(agent_message, streamed), *map(message, final), message_end()]

    assert text_of(events, "agent") == text


LLM_USAGE = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}


@pytest.mark.parametrize(
    ("usage", "nodes", "total_tokens", "read_as"),
    [
        pytest.param(dify.Usage(10, 2, 12), [], None, CompletionUsage(10, 2), id="message_end"),
        pytest.param(
            dify.Usage(10, 2, 12), [{"usage": LLM_USAGE}], 7, CompletionUsage(10, 2), id="message_end wins"
        ),
        pytest.param(dify.Usage(10, 2, 0), [], None, CompletionUsage(10, 2), id="an agent of 0.15: total 0"),
        pytest.param(dify.Usage(0, 0, 0), [], None, CompletionUsage(0, 0), id="zeros are an answer"),
        pytest.param(None, [{"usage": LLM_USAGE}] * 2, 99, CompletionUsage(6, 8), id="the sum of the nodes"),
        pytest.param(
            dify.Usage(),
            [{"usage": LLM_USAGE}],
            None,
            CompletionUsage(3, 4),
            id="an empty usage tells nothing",
        ),
        pytest.param(None, [], 7, CompletionUsage(0, 7), id="the run's total"),
        pytest.param(None, [], None, None, id="unknown"),
        pytest.param(dify.Usage(), [], None, None, id="an empty usage"),
        pytest.param(dify.Usage(total_price="0E-7"), [], None, None, id="a price alone"),
    ],
)
def test_usage_is_taken_from_where_it_is_and_never_invented(
    usage: dify.Usage | None,
    nodes: list[object],
    total_tokens: int | None,
    read_as: CompletionUsage | None,
) -> None:
    finished = [dify.NodeFinished(**IDS, data=dify.NodeData("llm", "llm", outputs)) for outputs in nodes]

    replies = read(
        [message("Hi"), *finished, workflow_finished(total_tokens=total_tokens), message_end(usage)],
        "advanced-chat",
    )

    assert collect_reply(replies).ended.usage == read_as


def test_a_chatflow_without_message_end_counts_its_nodes() -> None:
    node = dify.NodeFinished(**IDS, data=dify.NodeData("llm", "llm", process_data={"usage": LLM_USAGE}))

    replies = read([message("Hi"), node, workflow_finished(total_tokens=7)], "advanced-chat")

    assert replies[-1] == ReplyEnded(CompletionUsage(3, 4))


def test_a_workflow_has_a_task_and_neither_conversation_nor_message() -> None:
    replies = read(
        [
            dify.WorkflowStarted(task_id="tid"),
            text_chunk("Hel"),
            text_chunk("lo"),
            dify.WorkflowFinished(
                task_id="tid", data=dify.WorkflowFinishedData("succeeded", {"text": "Hello"}, None, 12)
            ),
        ],
        "workflow",
    )

    assert replies == [
        ReplyStarted("tid"),
        TextDelta("Hel"),
        TextDelta("lo"),
        ReplyEnded(CompletionUsage(0, 12), outputs={"text": "Hello"}),
    ]


@pytest.mark.parametrize(
    ("events", "output", "text"),
    [
        pytest.param([workflow_finished(outputs={"x": "Hi"})], None, "Hi", id="computed, no text_chunk"),
        pytest.param(
            [text_chunk("Hello wor"), workflow_finished(outputs={"text": "Hello world"})],
            None,
            "Hello world",
            id="what was not streamed is completed",
        ),
        pytest.param(
            [text_chunk("Hello"), workflow_finished(outputs={"text": "HELLO"})],
            None,
            "Hello",
            id="what was streamed stands",
        ),
        pytest.param(
            [text_chunk("draft"), workflow_finished(outputs={"text": "draft", "final": "Done"})],
            "final",
            "Done",
            id="the configured output",
        ),
        pytest.param(
            [text_chunk("Hi"), workflow_finished(outputs={"text": "Hi"})],
            "json",
            '{"text":"Hi"}',
            id="all outputs as JSON",
        ),
        pytest.param(
            [text_chunk(None), text_chunk(""), workflow_finished(outputs={"text": "Hi"})],
            None,
            "Hi",
            id="empty chunks",
        ),
        pytest.param(
            [
                node_started("code", "code"),
                text_chunk("7", "code"),
                workflow_finished(outputs={"a": "7", "b": 1}),
            ],
            None,
            "7",
            id="computed text is read from the outputs",
        ),
        pytest.param([workflow_finished(outputs=None)], None, "", id="no outputs"),
        pytest.param(
            [text_chunk("Hi"), workflow_finished("partial-succeeded", {"text": "Hi"})],
            None,
            "Hi",
            id="partial-succeeded",
        ),
    ],
)
def test_a_workflows_text(events: list[dify.StreamEvent], output: str | None, text: str) -> None:
    assert text_of(events, "workflow", output) == text


def test_a_workflows_thinking_is_apart() -> None:
    thinking = dify.ReasoningChunk(task_id="tid", data=dify.ReasoningChunkData("Hm"))
    last = dify.ReasoningChunk(task_id="tid", data=dify.ReasoningChunkData(None))

    reply = collect_reply(read([thinking, last, workflow_finished(outputs={"text": "Hi"})], "workflow"))

    assert (reply.thoughts, reply.text) == ("Hm", "Hi")


def test_a_workflow_counts_its_nodes() -> None:
    node = dify.NodeFinished(task_id="tid", data=dify.NodeData("llm", "llm", {"usage": LLM_USAGE}))

    replies = read([node, workflow_finished(outputs={"text": "Hi"}, total_tokens=99)], "workflow")

    assert collect_reply(replies).ended.usage == CompletionUsage(3, 4)


@pytest.mark.parametrize(
    ("events", "kind"),
    [
        pytest.param([workflow_finished("failed", error="boom")], DifyRunFailed, id="failed"),
        pytest.param([dify.ErrorEvent(code="internal_server_error", message="x")], DifyError, id="error"),
        pytest.param([dify.WorkflowPaused(task_id="tid")], DifyAppError, id="paused"),
        pytest.param([], DifyError, id="cut"),
        pytest.param([message_end()], DifyError, id="cut; workflows have no message_end"),
    ],
)
def test_a_workflow_fails_after_the_text_before_it(
    events: list[dify.StreamEvent], kind: type[GatewayError]
) -> None:
    replies, error = failure_of([text_chunk("Hel"), *events], "workflow")

    assert replies == [ReplyStarted("tid"), TextDelta("Hel")]
    assert type(error) is kind


def test_a_workflow_refused_for_its_inputs_names_the_input() -> None:
    failed = workflow_finished("failed", error="name is required in input form")

    _, error = failure_of([failed], "workflow")

    assert error.param == "inputs.name"


def test_an_empty_chunk_is_no_text_that_was_sent() -> None:
    failed = workflow_finished("failed", error="name is required in input form")

    _, error = failure_of([node_started("llm", "llm"), text_chunk(""), failed], "workflow")

    assert type(error) is InvalidInput


@pytest.mark.parametrize("mode", [*CHAT_MODES, "workflow"])
def test_after_its_end_a_reader_says_no_more(mode: AppMode) -> None:
    reader = reply_reader(mode, None)
    end = workflow_finished(outputs={}) if mode == "workflow" else message_end()

    assert list(reader.feed(end))

    assert reader.ended
    assert list(reader.feed(message("more"))) == []
    assert list(reader.close()) == []


@pytest.mark.parametrize("mode", [*CHAT_MODES, "workflow"])
def test_a_reader_has_not_ended_before_its_end(mode: AppMode) -> None:
    reader = reply_reader(mode, None)

    list(reader.feed(message("Hi")))

    assert not reader.ended


@pytest.mark.parametrize(
    "reader", [ChatReplyReader(), WorkflowReplyReader(None)], ids=["chatflow", "workflow"]
)
def test_a_run_that_somebody_stopped_is_no_whole_answer(reader: ReplyReader) -> None:
    with pytest.raises(DifyRunFailed, match="stopped before the answer was whole"):
        list(reader.feed(workflow_finished("stopped", error="Stopped by user.")))
