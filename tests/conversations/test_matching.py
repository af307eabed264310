"""The rules of which conversation a turn continues, on what a store holds; one test a row."""

from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from opendify.conversations.fingerprint import MOST_RECENT_MESSAGES, fingerprint
from opendify.conversations.matching import Scope, continued_by_chat
from opendify.translate.turn import HistoryMessage

SCOPE = Scope(model="bot", app_fingerprint="app-1", caller="team", user="team:ann", chat_id="chat-1")
NO_CHAT = structs.replace(SCOPE, chat_id="")


def transcript(*texts: str, first: int = 0) -> list[HistoryMessage]:
    return [HistoryMessage("assistant" if n % 2 else "user", text) for n, text in enumerate(texts, first)]


@dataclass(frozen=True)
class SeenConversation:
    id: str
    app_fingerprint: str
    recent: bytes
    shows_history: bool


def seen(*texts: str, id: str = "one", app: str = "app-1", shows_history: bool = True) -> SeenConversation:  # noqa: A002 - A row's id is `id`.
    return SeenConversation(id, app, fingerprint(transcript(*texts)).recent, shows_history)


def continued(*history: str, of: list[SeenConversation], whole: bool = False, first: int = 0) -> list[str]:
    """`first` is 1 where the shown history begins with an answer."""
    shown = fingerprint(transcript(*history, first=first))
    found = continued_by_chat(shown, of, "app-1", sends_whole_transcripts=whole)
    return [each.id for each in found]


def key(*texts: str, scope: Scope = SCOPE, context: bytes = b"") -> str:
    return scope.match_key(fingerprint(transcript(*texts)), context)


CHAT = seen("Hi", "Hello", "How?", "Fine")
SILENT = seen("Hi", "Hello", "How?", "Fine", shows_history=False)


# The same transcript plus one user message


def test_the_same_transcript_has_the_same_key() -> None:
    assert key("Hi", "Hello") == key(" Hi", "<think>hm</think>Hello\r\n")


@pytest.mark.parametrize(
    "texts",
    [("Hey", "Hello"), ("Hi", "Hullo"), ("Hi", "Hello", "How?"), ("Hi",), (), ("Hello", "Hi")],
)
def test_any_other_transcript_has_another_key(texts: tuple[str, ...]) -> None:
    assert key(*texts) != key("Hi", "Hello")


def test_without_a_chat_id_the_context_tells_transcripts_apart() -> None:
    assert key("Hi", scope=NO_CHAT, context=b"a") != key("Hi", scope=NO_CHAT, context=b"b")
    assert key("Hi", context=b"a") == key("Hi", context=b"b")


# A chat id, and only the new message


def test_a_lone_message_continues_the_newest_conversation_of_a_chat_that_never_showed_history() -> None:
    assert continued(of=[SILENT, replace(SILENT, id="older")]) == ["one"]


def test_a_lone_message_is_an_edit_in_a_chat_that_ever_showed_history() -> None:
    assert continued(of=[CHAT]) == []
    assert continued(of=[SILENT, replace(CHAT, id="older")]) == []
    assert continued(of=[SILENT, replace(CHAT, id="older", app_fingerprint="app-0")]) == []


def test_a_lone_message_is_an_edit_of_a_client_that_sends_whole_transcripts() -> None:
    assert continued(of=[SILENT], whole=True) == []


def test_a_lone_message_goes_on_after_a_turn_that_broke_off() -> None:
    assert continued(of=[seen(shows_history=False)]) == ["one"]


# A chat id, and a sliding window


@pytest.mark.parametrize("chat", [CHAT, SILENT], ids=["history shown before", "not shown before"])
def test_a_window_that_ends_with_the_last_answer_continues(chat: SeenConversation) -> None:
    assert continued("How?", "Fine", of=[chat]) == ["one"]
    assert continued("Hello", "How?", "Fine", of=[chat], first=1) == ["one"]
    assert continued("Fine", of=[chat], first=1) == ["one"]
    assert continued("Hi", "Hello", "How?", "Fine", of=[chat]) == ["one"]


@pytest.mark.parametrize(
    ("history", "first"),
    [
        pytest.param(["Who?", "Fine"], 0, id="an edit in place"),
        pytest.param(["How?", "Bad"], 0, id="another answer"),
        pytest.param(["Hi", "Hello"], 0, id="an earlier answer: regenerated"),
        pytest.param(["Hello", "How?"], 1, id="no answer last"),
        pytest.param(["How?"], 0, id="a question alone"),
        pytest.param(["Hey", "Hi", "Hello", "How?", "Fine"], 1, id="more than was seen"),
        pytest.param(["Fine"], 0, id="the answer's words from the person"),
    ],
)
def test_what_is_no_window_is_replayed(history: list[str], first: int) -> None:
    assert continued(*history, of=[CHAT], first=first) == []


def test_a_window_of_a_client_that_sends_whole_transcripts_is_an_edit() -> None:
    assert continued("How?", "Fine", of=[CHAT], whole=True) == []


def test_a_window_finds_its_branch_and_the_newest_first() -> None:
    branch = seen("Hi", "Hello", "Who?", "Me", id="branch")
    twin = replace(CHAT, id="twin")

    assert continued("Who?", "Me", of=[CHAT, branch]) == ["branch"]
    assert continued("How?", "Fine", of=[twin, branch, CHAT]) == ["twin", "one"]


def test_no_window_fits_after_a_turn_that_broke_off() -> None:
    assert continued("How?", "Fine", of=[replace(CHAT, recent=b"")]) == []


def test_more_messages_than_are_remembered_are_no_window() -> None:
    texts = [f"text {number}" for number in range(MOST_RECENT_MESSAGES + 2)]

    assert continued("an edit", *texts[1:], of=[seen(*texts)]) == []


def test_as_many_messages_as_are_remembered_may_be_a_window() -> None:
    texts = [f"text {number}" for number in range(MOST_RECENT_MESSAGES + 2)]

    assert continued(*texts[2:], of=[seen(*texts)]) == ["one"]


# A changed app key


def test_a_conversation_of_another_app_key_is_not_continued() -> None:
    old = replace(SILENT, app_fingerprint="app-0")

    assert continued(of=[old]) == []
    assert continued("How?", "Fine", of=[old]) == []
    assert continued(of=[old, replace(SILENT, id="new")]) == ["new"]


def test_a_changed_app_key_keeps_the_chat_and_changes_what_fits() -> None:
    changed = structs.replace(SCOPE, app_fingerprint="app-0")

    assert changed.key == SCOPE.key
    assert key("Hi", scope=changed) != key("Hi")


# Nothing crosses a scope


_parts = st.text(max_size=6) | st.text("ab\x00:", max_size=4)
_scopes = st.builds(
    Scope, model=_parts, app_fingerprint=_parts, caller=_parts, user=_parts, chat_id=st.just("") | _parts
)


@given(_scopes, _scopes, st.binary(max_size=4), st.binary(max_size=4))
def test_scopes_that_differ_in_any_part_share_no_key(
    scope: Scope, other: Scope, context: bytes, others_context: bytes
) -> None:
    same = key("Hi", scope=scope, context=context) == key("Hi", scope=other, context=others_context)

    assert same == (scope == other and bool(scope.chat_id or context == others_context))


@given(_scopes, st.sampled_from(["model", "caller", "user", "chat_id"]), _parts)
def test_a_part_that_differs_makes_another_chat(scope: Scope, part: str, value: str) -> None:
    other = structs.replace(scope, **{part: value})

    assert (other.key == scope.key) == (other == scope)


@given(_parts, _parts, _parts)
def test_text_moved_between_parts_makes_another_chat(one: str, two: str, rest: str) -> None:
    scope = structs.replace(SCOPE, caller=one + two, user=rest)
    other = structs.replace(SCOPE, caller=one, user=two + rest)

    assert (other.key == scope.key) == (not two)
