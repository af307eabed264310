"""An app's files: found in every form Dify has for them, each once, and linked in the answer."""

import pytest

from opendify.translate.dify_extension import dify_extension
from opendify.translate.dify_reply import reply_reader
from opendify.translate.file_links import markdown_link, published_at
from opendify.translate.held_back import HeldBackReader
from opendify.translate.reply_pipeline import ReplyPipeline, reply_filters
from opendify.translate.turn import (
    AnswerFile,
    Reply,
    ReplyEnded,
    ReplyEvent,
    ReplyStarted,
    TextDelta,
    collect_reply,
)
from opendify.wire import dify

BASE = "https://dify.example/v1"
TOOL_IMAGE: dict[str, object] = {
    "type": "image",
    "transfer_method": "tool_file",
    "filename": "a.png",
    "mime_type": "image/png",
    "size": 317,
    "url": "/files/tools/a.png?sign=2",
}
OWN_FILE: dict[str, object] = {
    **TOOL_IMAGE,
    "transfer_method": "local_file",
    "url": "/files/mine/preview?sign=1",
}
REPORT: dict[str, object] = {
    "dify_model_identity": "__dify__file__",
    "type": "document",
    "transfer_method": "tool_file",
    "filename": "report [1].pdf",
    "url": "https://files.example/r.pdf?sign=(x)",
}


def reply_of(*events: dify.StreamEvent, workflow: bool = False, output: str | None = None) -> Reply:
    reader = reply_reader("workflow" if workflow else "chat", output)
    pipeline = ReplyPipeline(reader, reply_filters("separate", ["STOP"], publish=published_at(BASE)))
    return collect_reply(list(pipeline.feed(events)))


def text(answer: str) -> dify.Message:
    return dify.Message(task_id="t", message_id="m", conversation_id="c", answer=answer)


def tool_image(url: str = "/files/tools/a.png?sign=1", belongs_to: str = "assistant") -> dify.MessageFile:
    return dify.MessageFile(message_id="m", type="image", belongs_to=belongs_to, url=url)


def replaced(answer: str) -> dify.MessageReplace:
    return dify.MessageReplace(message_id="m", answer=answer)


def end(*files: object) -> dify.MessageEnd:
    return dify.MessageEnd(message_id="m", files=list(files))


def finished(**outputs: object) -> dify.WorkflowFinished:
    return dify.WorkflowFinished(data=dify.WorkflowFinishedData(status="succeeded", outputs=outputs))


LINK = "![a.png](https://dify.example/files/tools/a.png?sign=1)"


class TestChats:
    def test_a_file_stands_on_lines_of_its_own(self) -> None:
        assert reply_of(text("Look:"), tool_image(), text("Nice?"), end()).text == f"Look:\n\n{LINK}\n\nNice?"

    def test_a_file_that_comes_twice_is_told_once(self) -> None:
        reply = reply_of(text("Look:"), tool_image(), end(TOOL_IMAGE))

        assert reply.text == f"Look:\n\n{LINK}\n\n"
        assert len(reply.files) == 1

    def test_a_file_that_comes_only_at_the_end_is_the_end(self) -> None:
        reply = reply_of(text("Look:"), end(TOOL_IMAGE))

        assert reply.text == "Look:\n\n![a.png](https://dify.example/files/tools/a.png?sign=2)"

    def test_a_file_alone_is_an_answer(self) -> None:
        assert reply_of(tool_image(), end()).text == f"{LINK}\n\n"

    @pytest.mark.parametrize(
        "events",
        [
            [text("a"), tool_image(belongs_to="user"), end()],
            [text("a"), end(OWN_FILE)],
            [text("a"), tool_image("javascript:alert(1)"), end()],
            [text("a"), tool_image("data:text/html,x"), end()],
            [text("a"), tool_image("http://[broken/x.png"), end()],
            [text("a"), tool_image("file:///etc/passwd"), end()],
            [text("a"), end({"transfer_method": "tool_file", "url": 7}, "nonsense", None)],
        ],
    )
    def test_what_is_the_persons_own_or_no_web_address_is_left_out(
        self, events: list[dify.StreamEvent]
    ) -> None:
        reply = reply_of(*events)

        assert (reply.text, reply.files) == ("a", ())

    def test_files_are_in_the_extension(self) -> None:
        reply = reply_of(text("Look:"), end(TOOL_IMAGE))

        assert dify_extension(reply)["files"] == [
            {
                "type": "image",
                "url": "https://dify.example/files/tools/a.png?sign=2",
                "filename": "a.png",
                "mime_type": "image/png",
                "size": 317,
            }
        ]

    def test_a_file_that_moderation_took_back_is_gone(self) -> None:
        reply = reply_of(text("Look:"), tool_image(), replaced("No."), end(TOOL_IMAGE))

        assert (reply.text, reply.files) == ("No.", ())

    def test_a_file_that_comes_after_moderation_stands_below_what_it_left(self) -> None:
        reply = reply_of(text("Look:"), replaced("No."), tool_image(), end(TOOL_IMAGE))

        assert reply.text == f"No.\n\n{LINK}\n\n"
        assert len(reply.files) == 1

    def test_text_that_a_stop_sequence_holds_back_stays_in_front(self) -> None:
        assert reply_of(text("Look: ST"), tool_image(), end()).text == f"Look: ST\n\n{LINK}\n\n"


class TestHeldBack:
    """Files are shown in the text, so that they wait with it."""

    @staticmethod
    def held_back(*events: dify.StreamEvent) -> list[ReplyEvent]:
        reader = HeldBackReader(reply_reader("chat"))
        pipeline = ReplyPipeline(reader, reply_filters("separate", (), publish=published_at(BASE)))
        return list(pipeline.feed(events))

    def test_nothing_of_a_file_leaves_before_the_end(self) -> None:
        assert self.held_back(text("Look:"), tool_image()) == [ReplyStarted("t", "m", "c")]

    def test_text_and_files_come_in_their_order(self) -> None:
        reply = collect_reply(self.held_back(text("Lo"), text("ok:"), tool_image(), text("Nice?"), end()))

        assert reply.text == f"Look:\n\n{LINK}\n\nNice?"
        assert [file.filename for file in reply.files] == ["a.png"]

    def test_what_moderation_took_back_is_never_published(self) -> None:
        told = self.held_back(text("Look:"), tool_image(), replaced("No."), end(TOOL_IMAGE))

        assert told == [ReplyStarted("t", "m", "c"), TextDelta("No."), ReplyEnded()]


class TestGraphs:
    def test_what_a_moderated_answer_showed_is_not_linked_after_all(self) -> None:
        answer = "Here: ![a.png](https://dify.example/files/tools/a.png?sign=9)"
        reply = reply_of(text(answer), replaced("No."), finished(answer=answer), end(TOOL_IMAGE))

        assert reply.text == "No."

    def test_what_the_answer_shows_already_is_not_linked_again(self) -> None:
        answer = "Here: ![a.png](https://dify.example/files/tools/a.png?sign=9)"
        reply = reply_of(text(answer), finished(answer=answer, files=[TOOL_IMAGE]), end(TOOL_IMAGE))

        assert reply.text == answer
        assert [file.filename for file in reply.files] == ["a.png"]

    def test_what_the_answer_does_not_show_is_linked(self) -> None:
        reply = reply_of(text("Done."), finished(answer="Done."), end(REPORT))

        assert reply.text == "Done.\n\n[report 1 .pdf](https://files.example/r.pdf?sign=%28x%29)"

    @pytest.mark.parametrize("outputs", [{"report": REPORT}, {"reports": [REPORT]}])
    def test_a_workflow_that_gives_only_files_answers_with_links(self, outputs: dict[str, object]) -> None:
        reply = reply_of(finished(**outputs), workflow=True)

        assert reply.text == "[report 1 .pdf](https://files.example/r.pdf?sign=%28x%29)"

    def test_a_workflows_files_stand_below_its_text(self) -> None:
        reply = reply_of(finished(text="Done.", report=REPORT, image=TOOL_IMAGE), workflow=True)

        assert reply.text.split("\n\n") == [
            "Done.",
            "[report 1 .pdf](https://files.example/r.pdf?sign=%28x%29)",
            "![a.png](https://dify.example/files/tools/a.png?sign=2)",
        ]

    def test_a_configured_output_brings_its_own_files_only(self) -> None:
        reply = reply_of(finished(text="Done.", report=REPORT), workflow=True, output="text")

        assert (reply.text, reply.files) == ("Done.", ())


@pytest.mark.parametrize(
    ("file", "link"),
    [
        (AnswerFile("https://h/a b.png", "a b.png", "image"), "![a b.png](https://h/a%20b.png)"),
        (AnswerFile("https://h/x", "](javascript:x)", "document"), "[(javascript:x)](https://h/x)"),
        (AnswerFile("https://h/x)[y](z", "n", "document"), "[n](https://h/x%29[y]%28z)"),
        (AnswerFile("https://h/%E4%BD%A0?a=b&c=%2F", "\n", "audio"), "[file](https://h/%E4%BD%A0?a=b&c=%2F)"),
    ],
)
def test_no_name_and_no_url_breaks_out_of_a_link(file: AnswerFile, link: str) -> None:
    assert markdown_link(file) == link


def test_a_link_which_whoever_has_it_can_follow_is_in_no_repr() -> None:
    assert "sign" not in repr(AnswerFile("/files/tools/a.png?sign=2", "a.png"))
