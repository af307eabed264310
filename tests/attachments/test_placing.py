"""Where an app takes files, and what it does not take."""

from collections.abc import Mapping
from dataclasses import replace

import pytest

from opendify.attachments.local_files import LocalFile, ReadyFile, RemoteFile, inline_file
from opendify.attachments.placing import place
from opendify.errors import InvalidRequest
from opendify.records import AppProfile, FileRules, InputField
from opendify.settings import DifyApp
from opendify.translate.turn import Attachment, AttachmentType
from tests.fakes.settings import make_settings

IMAGES = FileRules(types=frozenset({"image"}), methods=frozenset({"local_file", "remote_url"}), most=2)
PIC = InputField("pic", "file", files=replace(IMAGES, most=1))
PAPERS = InputField("papers", "file-list", files=FileRules(types=frozenset({"document"}), most=2))
REMOTE = RemoteFile("image", "a.png", "p", "https://x.example/a.png")


def local(type_: AttachmentType = "image", filename: str = "a.png", size: int = 1) -> LocalFile:
    return inline_file(Attachment(type_, filename, "", f"p.{filename}"), bytes(size))


def make_app(**options: object) -> DifyApp:
    return make_settings({"bot": {"api_key": "app-bot", **options}}).models[0]


APP = make_app()


def chat(**facts: object) -> AppProfile:
    return replace(AppProfile("advanced-chat", form=(), takes_files=True, file_rules=IMAGES), **facts)  # type: ignore[arg-type] # Each test knows its facts.


def places(
    profile: AppProfile,
    *files: ReadyFile,
    given: Mapping[str, object] | None = None,
    of: DifyApp = APP,
) -> list[tuple[str, str, str | None]]:
    """Each file's name, what Dify is to take it for, and its input."""
    placed = place(files, of, profile, given or {}, most_bytes=100)
    return [(each.file.filename, each.type, each.input.name if each.input else None) for each in placed]


def refusal(profile: AppProfile, *files: ReadyFile) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        places(profile, *files)
    return caught.value


def test_files_of_a_chat_stand_beside_the_query() -> None:
    assert places(chat(), local(), REMOTE) == [("a.png", "image", None), ("a.png", "image", None)]


def test_what_is_not_known_is_not_refused() -> None:
    assert places(AppProfile("chat"), local("video", "a.mp4")) == [("a.mp4", "video", None)]


def test_a_workflow_takes_files_in_its_inputs_first() -> None:
    workflow = chat(mode="workflow", form=(PIC, PAPERS))
    files = [local("document", "1.pdf"), local(), local("document", "2.pdf"), local(filename="b.png")]

    assert places(workflow, *files) == [
        ("a.png", "image", "pic"),
        ("1.pdf", "document", "papers"),
        ("2.pdf", "document", "papers"),
        ("b.png", "image", None),
    ]


def test_a_chatflow_takes_files_in_its_inputs_only_where_it_must() -> None:
    assert places(chat(form=(PIC,)), local()) == [("a.png", "image", None)]
    assert places(chat(form=(PIC, replace(PIC, name="must", required=True))), local()) == [
        ("a.png", "image", "must")
    ]
    assert places(chat(form=(PIC,), takes_files=False), local()) == [("a.png", "image", "pic")]


def test_an_input_that_the_client_gives_itself_is_left_alone() -> None:
    workflow = chat(mode="workflow", form=(PIC, replace(PIC, name="other")))

    assert places(workflow, local(), given={"pic": {"type": "image"}}) == [("a.png", "image", "other")]


def test_an_input_that_is_locked_is_left_alone() -> None:
    workflow = chat(mode="workflow", form=(PIC,))
    locking = make_app(inputs={"pic": {"type": "image"}}, locked_inputs=["pic"])

    assert places(workflow, local(), of=locking) == [("a.png", "image", None)]


def test_an_app_that_takes_no_files_says_so() -> None:
    error = refusal(chat(takes_files=False), local())

    assert (error.status, error.code, error.param) == (400, "unsupported_value", "p.a.png")
    assert "'bot' does not take files" in error.message


def test_a_file_too_many_is_refused_with_the_limit() -> None:
    error = refusal(chat(), local(), local(), local(filename="third.png"))

    assert (error.status, error.code, error.param) == (400, "too_many_files", "p.third.png")
    assert "at most 2" in error.message


def test_a_wrong_type_is_refused_with_the_right_ones() -> None:
    error = refusal(chat(), local("document", "a.pdf"))

    assert (error.status, error.code, error.param) == (415, "unsupported_media_type", "p.a.pdf")
    assert "'document'; the app takes only image" in error.message


@pytest.mark.parametrize(
    ("type_", "limit"),
    [("image", 10), ("document", 15), ("video", 100)],
    ids=["image", "document", "unknown"],
)
def test_a_file_too_large_is_refused_with_the_limit(type_: AttachmentType, limit: int) -> None:
    profile = AppProfile("chat", most_file_bytes={"image": 10, "document": 15})
    assert places(profile, local(type_, size=limit))

    error = refusal(profile, local(type_, size=limit + 1))

    assert (error.status, error.code) == (413, "file_too_large")
    assert f"the limit is {limit} bytes" in error.message


@pytest.mark.parametrize(("method", "file"), [("local_file", REMOTE), ("remote_url", local())])
def test_a_way_of_sending_that_the_app_does_not_take_is_refused(method: str, file: ReadyFile) -> None:
    error = refusal(chat(file_rules=replace(IMAGES, methods=frozenset({method}))), file)

    assert (error.status, error.code, error.param) == (400, "unsupported_value", file.param)


def test_other_files_are_custom_where_the_app_names_their_ending() -> None:
    rules = FileRules(types=frozenset({"custom", "document"}), extensions=frozenset({"json"}))
    profile = chat(file_rules=rules)

    assert places(profile, local("document", "a.json")) == [("a.json", "custom", None)]
    assert places(profile, local("document", "a.PDF")) == [("a.PDF", "document", None)]
    assert "takes only document, .json" in refusal(profile, local("document", "a.bin")).message


def test_a_file_that_is_no_document_to_dify_is_told_apart() -> None:
    error = refusal(chat(file_rules=FileRules(types=frozenset({"document"}))), local("document", "a.json"))

    assert "'.json', which is no document to Dify" in error.message
