import pytest

from opendify.errors import DifyAppError
from opendify.settings import AppMode
from opendify.translate.dify_reply import reply_reader
from opendify.translate.human_input import (
    FormAction,
    FormAnswer,
    PausedRun,
    form_text,
    read_form,
    read_form_answer,
)
from opendify.translate.turn import ReplyEnded, ReplyStarted, TextDelta
from opendify.wire import dify

YES_NO = (FormAction("approve", "Yes"), FormAction("reject", "No, thanks"))


def paused(*fields: str, actions: tuple[FormAction, ...] = YES_NO) -> PausedRun:
    return PausedRun("run", "secret-token", actions, fields)


def asked(**fields: object) -> dify.HumanInputRequired:
    form = {
        "form_content": "Approve?",
        "form_token": "tok",
        "actions": [{"id": "ok", "title": "OK"}],
        **fields,
    }
    data = dify.HumanInputRequiredData(**form)  # type: ignore[arg-type]
    return dify.HumanInputRequired("t", "m", "c", workflow_run_id="run", data=data)


def test_a_form_is_read() -> None:
    event = asked(
        inputs=[{"type": "paragraph", "output_variable_name": "comment"}], expiration_time=1_770_000_000
    )

    assert read_form(event) == PausedRun(
        "run", "tok", (FormAction("ok", "OK"),), ("comment",), "c", 1_770_000_000.0
    )


@pytest.mark.parametrize("missing", [{"form_token": None}, {"actions": []}, {"actions": "none"}])
def test_a_form_that_cannot_be_answered_here_is_none(missing: dict[str, object]) -> None:
    assert read_form(asked(**missing)) is None


def test_the_token_is_not_shown() -> None:
    assert "secret" not in repr(paused())


def test_a_person_is_asked_with_the_choices_and_the_fields() -> None:
    assert form_text("Approve?\n{{#$output.comment#}}", paused("comment")) == (
        "Approve?\n[comment]\n\n"
        "Reply with one of: **Yes**, **No, thanks**\n"
        "What you write on the lines below it becomes `comment`."
    )
    assert form_text("", paused("a", "b")).endswith("Below it, a line each: `a: …`, `b: …`")


@pytest.mark.parametrize(
    ("reply", "action"),
    [
        ("Yes", "approve"),
        (" yes. ", "approve"),
        ("**No, thanks**", "reject"),
        ("reject", "reject"),
        ("2", "reject"),
        ("Yes, but why?", None),
        ("3", None),
        ("", None),
    ],
)
def test_a_reply_chooses_by_title_id_or_number(reply: str, action: str | None) -> None:
    answer = read_form_answer(paused(), reply)

    assert (answer and answer.action) == action


def test_what_stands_below_the_choice_fills_the_fields() -> None:
    assert read_form_answer(paused("comment"), "Yes\nLooks\ngood") == FormAnswer(
        "approve", {"comment": "Looks\ngood"}
    )
    assert read_form_answer(paused("a", "b"), "Yes\nA: 1\nc: 3") == FormAnswer("approve", {"a": "1", "b": ""})


def test_a_form_of_one_choice_and_one_field_takes_any_reply() -> None:
    send = (FormAction("send", "Send"),)

    assert read_form_answer(paused("name", actions=send), "Ann") == FormAnswer("send", {"name": "Ann"})


@pytest.mark.parametrize("mode", ["advanced-chat", "workflow"])
def test_a_paused_run_answers_with_its_question(mode: AppMode) -> None:
    reader = reply_reader(mode, steps="off")

    replies = [
        reply
        for event in (asked(), asked(form_token="other"), dify.WorkflowPaused("t", "m", "c"))
        for reply in reader.feed(event)
    ]

    assert replies == [
        ReplyStarted("t", "m", "c"),
        TextDelta("Approve?\n\nReply with one of: **OK**"),
        ReplyEnded(),
    ]
    assert reader.ended
    assert reader.paused
    assert reader.paused.form_token == "tok"


def test_a_question_stands_below_what_was_said() -> None:
    reader = reply_reader("advanced-chat")
    said = dify.Message("t", "m", "c", answer="Draft.")

    replies = [reply for event in (said, asked(), dify.WorkflowPaused()) for reply in reader.feed(event)]

    assert replies[2] == TextDelta("\n\nApprove?\n\nReply with one of: **OK**")


def test_a_run_that_waits_for_what_cannot_be_given_here_is_a_failure() -> None:
    reader = reply_reader("advanced-chat")

    with pytest.raises(DifyAppError, match="human input"):
        list(reader.feed(dify.WorkflowPaused()))
