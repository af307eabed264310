"""What decides whether Dify has seen a transcript."""

import re
import time
from itertools import permutations

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from opendify.conversations.fingerprint import (
    MESSAGE_DIGEST_BYTES,
    MOST_RECENT_MESSAGES,
    context_digest,
    digest_of,
    fingerprint,
)
from opendify.translate.turn import HistoryMessage, HistoryRole

# Machines that build may be slow; what counts is the answer.
unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

ROLES: tuple[HistoryRole, ...] = ("user", "assistant", "tool")


def said(text: str, role: HistoryRole = "assistant") -> bytes:
    return fingerprint([HistoryMessage("user", "Hi"), HistoryMessage(role, text)]).fingerprint


THINKING = {
    "think": "<think>hm, {n}</think>",
    "in capitals": "<THINK>hm, {n}</Think>",
    "with attributes": '<think time="{n}">hm</think>',
    "on lines of its own": "<think>\nhm, {n}\n</think>\n\n",
    "with a tag in it": "<think>is {n} < 3 or <b>not</b>?</think>",
    "empty": "<think>\n\n</think>\n\n",
    "thinking": "<thinking>hm, {n}</thinking>",
    "Open WebUI's": '<details type="reasoning" done="true" duration="{n}">\n'
    "<summary>Thought for {n} seconds</summary>\n> hm\n</details>\n",
    "Dify 0.15's": '<details style="color:gray;background-color: #f8f8f8;padding: 8px;border-radius: 4px;" '
    "open> <summary> Thinking... </summary>\nhm, {n}\n</details>\n",
}


@pytest.mark.parametrize("block", THINKING.values(), ids=THINKING.keys())
def test_thinking_dropped_or_wrapped_does_not_change_an_answer(block: str) -> None:
    plain = said("It is so.\n\nIndeed.")

    assert said(block.replace("{n}", "1") + "It is so.\n\nIndeed.") == plain
    assert said(block.replace("{n}", "2") + "It is so.\r\n\r\nIndeed.\n") == plain
    assert said("It is so.\n\nIndeed." + block) == plain
    assert said(block + block + "It is so.\n\nIndeed.") == plain


def test_thinking_that_never_ended_is_all_thinking() -> None:
    assert said("It is so.<think>hm, and hm") == said("It is so.")


@pytest.mark.parametrize(
    "changed",
    [" It is so. ", "\nIt is so.\n\n", "\tIt is so.\r\n", "It is so.\u3000"],
    ids=["spaces", "lines", "a tab", "a wide space"],
)
@pytest.mark.parametrize("role", ROLES)
def test_white_space_around_a_message_does_not_count(role: HistoryRole, changed: str) -> None:
    assert said(changed, role) == said("It is so.", role)


@pytest.mark.parametrize("line_end", ["\r\n", "\r"], ids=["CRLF", "CR"])
@pytest.mark.parametrize("role", ROLES)
def test_line_ends_do_not_count(role: HistoryRole, line_end: str) -> None:
    assert said(f"a{line_end}b{line_end}{line_end}c", role) == said("a\nb\n\nc", role)


@pytest.mark.parametrize("tag", ["attached_files", "files"])
def test_marks_of_attached_files_do_not_count(tag: str) -> None:
    mark = f'<{tag}>\n<file type="file" url="4e6b" name="a.pdf"/>\n</{tag}>\n\n'

    assert said(f"{mark}Read it", "user") == said("Read it", "user")


@pytest.mark.parametrize(
    ("role", "one", "other"),
    [
        pytest.param("assistant", "It is so.", "It is so!", id="a character"),
        pytest.param("assistant", "It is so.", "it is so.", id="capitals"),
        pytest.param("assistant", "It is so.", "It is  so.", id="white space within"),
        pytest.param("assistant", "a\nb", "a\n\nb", id="an empty line"),
        pytest.param("assistant", "a\nb", "a b", id="no line end"),
        pytest.param("assistant", "Grüße", "Grusse", id="an accent"),
        pytest.param("assistant", "", "It is so.", id="nothing said"),
        pytest.param("user", "What does <think> mean?", "What does <think> do?", id="a tag asked about"),
        pytest.param("user", "Fix <think>a</think>", "Fix <think>b</think>", id="tags in a question"),
        pytest.param("user", '<details type="reasoning">a</details>', "", id="thinking, pasted by a person"),
        pytest.param("tool", "<think>a</think>", "<think>b</think>", id="tags in a tool's result"),
        pytest.param(
            "assistant",
            "<details open><summary>Solution</summary>1</details>",
            "<details open><summary>Solution</summary>2</details>",
            id="a fold of the answer's own",
        ),
        pytest.param("assistant", "<thinker>a</thinker>", "<thinker>b</thinker>", id="another tag"),
        pytest.param("assistant", "<files>a</files>", "<files>b</files>", id="files in an answer"),
    ],
)
def test_every_other_change_of_a_message_counts(role: HistoryRole, one: str, other: str) -> None:
    assert said(one, role) != said(other, role)


def test_every_order_role_and_number_of_messages_counts() -> None:
    messages = [
        HistoryMessage("user", "a"),
        HistoryMessage("assistant", "b"),
        HistoryMessage("user", "c"),
        HistoryMessage("tool", "c"),
    ]
    shown = [list(order) for length in range(len(messages) + 1) for order in permutations(messages, length)]

    assert len({fingerprint(each).fingerprint for each in shown}) == len(shown)


_texts = st.text("ab\n :<>\x00\x01", max_size=8) | st.text(max_size=8)
_messages = st.lists(st.builds(HistoryMessage, st.sampled_from(ROLES), _texts), max_size=5)


def _plain(messages: list[HistoryMessage]) -> list[tuple[str, str]]:
    def unfolded(text: str) -> str:
        return text.replace("\r\n", "\n").replace("\r", "\n").strip()

    return [(message.role, unfolded(message.text)) for message in messages]


@unhurried
@given(_messages, _messages)
def test_only_equal_transcripts_are_equal(
    messages: list[HistoryMessage], others: list[HistoryMessage]
) -> None:
    same = fingerprint(messages).fingerprint == fingerprint(others).fingerprint

    assert same == (_plain(messages) == _plain(others))


@unhurried
@given(_texts, _texts, st.integers(0, 8))
def test_text_moved_over_a_border_between_messages_counts(one: str, other: str, by: int) -> None:
    """However the two texts are cut, they are the same when put together."""
    whole = one + other
    assume(0 < by < len(whole) and whole[:by].strip() != one.strip())

    moved = [HistoryMessage("user", whole[:by]), HistoryMessage("user", whole[by:])]

    asked = [HistoryMessage("user", one), HistoryMessage("user", other)]
    assert fingerprint(moved).fingerprint != fingerprint(asked).fingerprint


@pytest.mark.parametrize("count", [0, 1, MOST_RECENT_MESSAGES - 1, MOST_RECENT_MESSAGES, 100])
def test_the_last_messages_are_kept_one_by_one(count: int) -> None:
    messages = [HistoryMessage("user", str(number)) for number in range(count)]

    recent = fingerprint(messages).recent

    singly = [fingerprint([message]).recent for message in messages[-MOST_RECENT_MESSAGES:]]
    assert recent == b"".join(singly)
    assert len(recent) == MESSAGE_DIGEST_BYTES * min(count, MOST_RECENT_MESSAGES)


@pytest.mark.parametrize(("role", "ends"), [("user", False), ("assistant", True), ("tool", False)])
def test_who_spoke_last_is_told(role: HistoryRole, ends: bool) -> None:
    assert fingerprint([HistoryMessage("user", "Hi"), HistoryMessage(role, "x")]).ends_with_answer is ends


def test_nothing_is_a_transcript_too() -> None:
    nothing = fingerprint([])

    assert (nothing.recent, nothing.ends_with_answer) == (b"", False)


# Odd texts of a client's must not cost more than any others.


@pytest.mark.parametrize(
    "unit",
    [
        "<think>",
        "<think ",
        "<thinking>",
        "<details open>",
        "<details open ",
        "<details",
        '<details type="reasoning">',
        '<details type="reasoning"',
        "<attached_files>",
        "<files>",
        "<files",
        "</think>",
        "<think></think>",
        "<think> \n",
        "<details>" + " " * 50,
        "<",
        "\r",
        " ",
    ],
)
@pytest.mark.parametrize("role", ["user", "assistant"])
def test_any_text_takes_time_by_its_length(role: HistoryRole, unit: str) -> None:
    text = unit * (300_000 // len(unit))

    before = time.process_time()
    said(text, role)

    assert time.process_time() - before < 2


# What else must be equal where no chat id tells two transcripts apart


MONDAY = "You are a lawyer. Today is Monday, 3 May 2027, 09:15 AM."


def context(system: str = MONDAY, inputs: dict[str, object] | None = None, *files: str) -> bytes:
    asked = HistoryMessage("user", "Hi", attachment_digests=files)
    return context_digest(system, inputs or {}, [asked, HistoryMessage("assistant", "Hello")])


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (MONDAY, "You are a lawyer. Today is Friday, 31 December 2028, 11:59 PM."),
        ("Now: Mon 2027-05-03T09:15:00Z", "Now: Sun 2028-06-04T10:16:01Z"),
        ("Time: 3 Sept", "Time: 14 Oct"),
        ("It is MAY", "It is june"),
        ("今天是2027年5月3日 星期一 上午9点", "今天是2028年12月31日 星期天 下午11点"),
        ("今天是周一", "今天是周日"),
        ("Be brief.\n\nNow.", " Be brief.\r\nNow. "),
    ],
)
def test_a_system_prompt_with_another_time_is_the_same(one: str, other: str) -> None:
    assert context(one) == context(other)


@pytest.mark.parametrize(
    "other",
    [
        "You are a pirate. Today is Monday, 3 May 2027, 09:15 AM.",
        "You are a lawyer.",
        "",
        "You are a lawyer. Monthly, today is 3 May 2027, 09:15 AM.",
        "You are a lawyer. Tomorrow is Monday, 3 May 2027, 09:15 AM.",
    ],
)
def test_any_other_system_prompt_is_another(other: str) -> None:
    assert context(other) != context()


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        pytest.param({"a": 1, "b": 2}, {"b": 2, "a": 1}, True, id="in any order"),
        pytest.param({"a": "1"}, {"a": "2"}, False, id="digits"),
        pytest.param({"a": 1}, {"a": "1"}, False, id="types"),
        pytest.param({"a": 1}, {"a": True}, False, id="truth"),
        pytest.param({"a": 1}, {"b": 1}, False, id="names"),
        pytest.param({"a": 1}, {}, False, id="one missing"),
        pytest.param({"a": {"x": [1]}}, {"a": {"x": [2]}}, False, id="deep inside"),
        pytest.param({"a": "May"}, {"a": "June"}, False, id="months"),
    ],
)
def test_inputs_count_as_they_are(one: dict[str, object], other: dict[str, object], same: bool) -> None:
    assert (context("", one) == context("", other)) is same


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param(["a"], ["b"], id="another"),
        pytest.param(["a"], [], id="none"),
        pytest.param(["a", "b"], ["b", "a"], id="another order"),
        pytest.param(["a", "b"], ["ab"], id="two as one"),
        pytest.param(["a"], ["a", "a"], id="twice"),
    ],
)
def test_the_files_of_earlier_turns_count(one: list[str], other: list[str]) -> None:
    assert context("", {}, *one) != context("", {}, *other)


def test_a_file_in_another_message_counts() -> None:
    with_file = HistoryMessage("user", "Hi", attachment_digests=("a",))
    without = HistoryMessage("user", "Hi")

    assert context_digest("", {}, [with_file, without]) != context_digest("", {}, [without, with_file])


def test_what_stored_conversations_are_found_by_never_changes() -> None:
    asked = HistoryMessage("user", "Hi", attachment_digests=("a", "b"))
    dated = "Be kind. Today is Monday, 23 November 2026, 上午."

    def found_by() -> str:
        return context_digest(dated, {"b": 1, "a": ["x"]}, [asked, HistoryMessage("assistant", "Yes")]).hex()

    assert found_by() == "0fc3253d9ef9c0d62ab566a20cb6f5b9"
    for number in range(600):
        context_digest("x" * number, {}, [])
    assert found_by() == "0fc3253d9ef9c0d62ab566a20cb6f5b9"
    assert context_digest("", {}, []).hex() == "7d7d65d2d85e88f690b2395c7a8b378e"


# The same as one expression, which takes several times as long. Digests of prompts are stored.
DATES = re.compile(
    r"\d+(?:st|nd|rd|th)?|\b(?:mon|tues|wednes|thurs|fri|satur|sun)day\b"
    r"|\b(?:january|february|march|april|may|june|july|august|september|october|november|december)\b"
    r"|\b(?:mon|tue|wed|thu|fri|sat|sun|jan|feb|mar|apr|jun|jul|aug|sep|sept|oct|nov|dec|am|pm)\b"
    r"|星期[一二三四五六日天]|周[一二三四五六日]|[上下]午",
    re.IGNORECASE,
)
PIECES = (
    "mon Monday MAY sept am day 3 21st 5TH th ٣ é \N{LATIN SMALL LETTER LONG S}un 星期 周 一 天 上 午 _ -"
)


@unhurried
@given(st.lists(st.sampled_from([*PIECES.split(), " ", "\n"]), max_size=8).map("".join))
def test_what_is_a_date_stays_the_same_from_release_to_release(prompt: str) -> None:
    undated = " ".join(DATES.sub("", prompt).split())

    assert context(prompt, {}).hex() == digest_of(undated, "[]", ";")


def test_prompt_inputs_and_files_are_kept_apart() -> None:
    shown = [context("x"), context("", {"x": ""}), context("", {}, "x"), context("{}"), context("", {}, "{}")]

    assert len(set(shown)) == len(shown)
