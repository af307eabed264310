"""A run that is listened to again: its answer comes whole, whatever was heard before."""

from collections.abc import Sequence

import pytest

from opendify.errors import DifyAppError, DifyError, DifyRunFailed
from opendify.settings import AppMode
from opendify.translate.dify_reply import reply_reader
from opendify.translate.rejoined import RejoinedReader
from opendify.translate.turn import Reply, ReplyEnded, ReplyStarted, TextDelta, collect_reply
from opendify.wire import dify

IDS = {"task_id": "t", "message_id": "m", "conversation_id": "c"}
TAIL = dify.Message(**IDS, answer="of the story.")
END = dify.MessageEnd(**IDS, metadata=dify.Metadata(usage=dify.Usage(7, 5, 12)))
MODERATED = dify.MessageReplace(**IDS, answer="Taken back.")


def finished(status: str = "succeeded", error: str | None = None, **outputs: object) -> dify.WorkflowFinished:
    return dify.WorkflowFinished(
        task_id="r-1", data=dify.WorkflowFinishedData(status=status, outputs=outputs, error=error)
    )


def read(
    events: Sequence[dify.StreamEvent], mode: AppMode = "advanced-chat", *, may_be_moderated: bool = False
) -> Reply:
    reader = RejoinedReader(reply_reader(mode), "r-1.seal", may_be_moderated=may_be_moderated)
    reply = collect_reply(reply for event in events for reply in reader.feed(event))
    assert reader.ended
    assert list(reader.close()) == []
    return reply


WHOLE = finished(answer="The end of the story.")


@pytest.mark.parametrize(
    "events",
    [[TAIL, END, WHOLE], [TAIL, WHOLE], [END, WHOLE], [WHOLE]],
    ids=["its tail", "its tail, in 1.13.0", "its end", "nothing but its row"],
)
def test_the_answer_is_whole_however_much_of_it_was_heard(events: list[dify.StreamEvent]) -> None:
    assert read(events).text == "The end of the story."


def test_the_text_comes_with_the_end_and_not_before() -> None:
    reader = RejoinedReader(reply_reader("advanced-chat"), "r-1.seal", may_be_moderated=False)

    assert list(reader.feed(TAIL)) == [ReplyStarted("t", "m", "c", workflow_run_id="r-1.seal")]
    assert not reader.passes_texts
    assert list(reader.feed(END)) == []
    assert [type(each) for each in reader.feed(WHOLE)] == [TextDelta, ReplyEnded]


def test_a_workflow_gives_its_output() -> None:
    half = dify.TextChunk(task_id="t", data=dify.TextChunkData("story.", ["llm", "text"]))

    reply = read([half, finished(text="The story.")], "workflow")

    assert (reply.text, reply.ended.outputs) == ("The story.", {"text": "The story."})
    assert reply.started.workflow_run_id == "r-1.seal"


def test_usage_is_told_where_it_was_heard() -> None:
    heard, missed = read([END, WHOLE]), read([WHOLE])

    assert heard.ended.usage
    assert heard.ended.usage.prompt_tokens == 7
    assert missed.ended.usage is None


def test_files_are_told_though_only_the_end_is_heard() -> None:
    made = {"transfer_method": "tool_file", "url": "https://dify/files/a.png", "filename": "a.png"}
    data = dify.WorkflowFinishedData(status="succeeded", outputs={"answer": "Here."}, files=[made])

    (file,) = read([dify.WorkflowFinished(data=data)]).files

    assert file.filename == "a.png"


def test_what_moderation_says_counts_more_than_what_the_model_said() -> None:
    reply = read([TAIL, MODERATED, END, finished(answer="Forbidden.")], may_be_moderated=True)

    assert reply.text == "Taken back."


def test_a_run_that_moderation_stopped_is_what_it_put_in_its_place() -> None:
    stopped = finished("stopped", "Stopped by output moderation.")

    assert read([dify.MessageReplace(**IDS, answer="Taken back."), stopped]).text == "Taken back."


def test_what_dify_replays_of_the_beginning_is_no_moderation() -> None:
    beginning = dify.MessageReplace(**IDS, answer="The end")

    assert read([dify.WorkflowStarted(**IDS), beginning, TAIL, END, WHOLE]).text == "The end of the story."


def test_the_row_of_a_moderated_run_is_not_trusted() -> None:
    with pytest.raises(DifyRunFailed, match="in its conversation"):
        read([finished(answer="Forbidden.")], may_be_moderated=True)


def test_a_failed_run_is_a_failure() -> None:
    with pytest.raises(DifyRunFailed, match="broke"):
        read([finished("failed", "it broke")])


def test_a_run_that_was_stopped_has_no_whole_answer() -> None:
    with pytest.raises(DifyRunFailed, match="stopped"):
        read([finished("stopped", "Stopped by user.")])


def test_a_question_to_a_person_is_none_here() -> None:
    form = dify.HumanInputRequiredData(
        form_content="Sure?", form_token="f", actions=[{"id": "yes", "title": "Yes"}]
    )
    asked = dify.HumanInputRequired(workflow_run_id="r-1", data=form)

    with pytest.raises(DifyAppError, match="human input"):
        read([asked, dify.WorkflowPaused()])


def test_a_line_that_breaks_again_is_a_failure() -> None:
    reader = RejoinedReader(reply_reader("workflow"), "r-1.seal", may_be_moderated=False)
    list(reader.feed(dify.WorkflowStarted(task_id="t")))

    with pytest.raises(DifyError, match="before `workflow_finished`"):
        list(reader.close())
