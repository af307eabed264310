"""Whole turns in their order: which conversation each continues, and what the model is shown."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from msgspec import structs

from opendify.conversations.identity import ClientContext, Place
from opendify.errors import ConversationNotFound, RateLimited
from opendify.records import InputField
from opendify.settings import AppMode, IntoInput
from opendify.stores import StoredConversation
from opendify.translate.turn import HistoryMessage, ReplyStarted, Turn
from opendify.turns.request import CLAIM_SECONDS
from tests.fakes.memory_store import MemoryStore
from tests.fakes.turn_stand import (
    NOBODY_KNOWN,
    SPACING_SECONDS,
    ClientTurn,
    Sender,
    TurnStand,
    in_chat,
    naming,
)

WHOLE = in_chat(whole=True)
CHAT = in_chat()
SENDERS = [
    pytest.param(NOBODY_KNOWN, id="no chat id"),
    pytest.param(CHAT, id="a chat id"),
    pytest.param(WHOLE, id="a chat id and whole transcripts"),
]


@pytest.fixture
def stand() -> TurnStand:
    return TurnStand()


# Transcripts


@pytest.mark.parametrize("by", SENDERS)
def test_the_same_transcript_and_a_new_message_continue(stand: TurnStand, by: Sender) -> None:
    first = stand.say("Hi", answer="Hello", by=by)
    second = stand.say("Hi", "Hello", "How?", answer="Fine", by=by)
    third = stand.say("Hi", "Hello", "How?", "Fine", "Why?", answer="Luck", by=by)

    assert first.conversation_id == second.conversation_id == third.conversation_id
    assert [first.query, second.query, third.query] == ["User: Hi", "How?", "Why?"]
    assert third.sees == ["Hi", "Hello", "How?", "Fine", "Why?"]


@pytest.mark.parametrize("by", SENDERS)
def test_what_clients_do_to_an_answer_does_not_lose_the_conversation(stand: TurnStand, by: Sender) -> None:
    first = stand.say("Hi\r\n", answer="<think>hm</think>\n\nHel\nlo ", by=by)

    assert stand.say("Hi", "Hel\r\nlo", "How?", answer="Fine", by=by).conversation_id == first.conversation_id


@pytest.mark.parametrize(
    "texts",
    [
        pytest.param(["Hey", "Hello", "How?", "Fine", "Why?"], id="an edited first message"),
        pytest.param(["Hi", "Hello", "Who?", "Fine", "Why?"], id="an edited later message"),
        pytest.param(["Hi", "Howdy", "How?", "Fine", "Why?"], id="an edited answer"),
        pytest.param(["Hi", "Hello", "How?"], id="a regenerated answer"),
        pytest.param(["Hi", "Hello", "Where?"], id="an edited newest message"),
        pytest.param(["Hi", "Hello", "How?", "Bad", "Why?"], id="a branch from an answer given elsewhere"),
        pytest.param(["How?", "Fine", "Hi", "Hello", "Why?"], id="another order"),
    ],
)
@pytest.mark.parametrize("by", SENDERS)
def test_whatever_else_a_transcript_shows_is_replayed_into_a_new_conversation(
    stand: TurnStand, by: Sender, texts: list[str]
) -> None:
    stand.say("Hi", answer="Hello", by=by)
    before = stand.say("Hi", "Hello", "How?", answer="Fine", by=by)

    branch = stand.say(*texts, answer="Well", by=by)

    assert branch.conversation_id != before.conversation_id
    assert branch.sees == texts
    assert not branch.held.memory_was_lost


@pytest.mark.parametrize("by", SENDERS)
def test_the_old_branch_stays_usable(stand: TurnStand, by: Sender) -> None:
    old = stand.say("Hi", answer="Hello", by=by)
    branch = stand.say("Hey", answer="Hello", by=WHOLE if by is CHAT else by)

    further = stand.say("Hi", "Hello", "How?", answer="Fine", by=by)
    branch_further = stand.say("Hey", "Hello", "How?", answer="Good", by=by)

    assert further.conversation_id == old.conversation_id
    assert branch_further.conversation_id == branch.conversation_id
    assert further.sees == ["Hi", "Hello", "How?"]


def test_an_unknown_transcript_is_replayed(stand: TurnStand) -> None:
    turn = stand.say("Hi", "Hello", "How?", answer="Fine")

    assert turn.sees == ["Hi", "Hello", "How?"]
    assert not turn.held.memory_was_lost


def test_a_transcript_that_ends_with_an_answer_is_told_to_go_on_and_then_fits_no_more(
    stand: TurnStand,
) -> None:
    first = stand.say("Hi", answer="Hel")

    more = stand.say("Hi", "Hel", answer="lo")
    after = stand.say("Hi", "Hello", "How?", answer="Fine")

    assert more.conversation_id == first.conversation_id
    assert more.query == "Go on"
    assert after.conversation_id != first.conversation_id
    assert after.sees == ["Hi", "Hello", "How?"]


@pytest.mark.parametrize("by", SENDERS)
@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda by: replace(by, model="other"), id="another model"),
        pytest.param(lambda by: replace(by, api_key="app-new"), id="another app key"),
        pytest.param(lambda by: replace(by, caller="others"), id="another caller"),
        pytest.param(lambda by: replace(by, user="team:bob"), id="another user"),
        pytest.param(
            lambda by: replace(by, context=structs.replace(by.context, chat_id="another chat")),
            id="another chat",
        ),
    ],
)
def test_nothing_crosses_a_scope(stand: TurnStand, by: Sender, change: Callable[[Sender], Sender]) -> None:
    first = stand.say("Hi", answer="Hello", by=by)

    second = stand.say("Hi", "Hello", "How?", answer="Fine", by=change(by))

    assert second.conversation_id != first.conversation_id
    assert second.sees == ["Hi", "Hello", "How?"]


def test_a_model_change_and_back_replays_what_the_other_model_said(stand: TurnStand) -> None:
    stand.say("Hi", answer="Hello")
    stand.say("Hi", "Hello", "How?", answer="Fine", by=Sender(model="other"))

    back = stand.say("Hi", "Hello", "How?", "Fine", "Why?", answer="Luck")

    assert back.sees == ["Hi", "Hello", "How?", "Fine", "Why?"]


def test_without_a_chat_id_the_context_must_be_equal_too(stand: TurnStand) -> None:
    system = "You are a lawyer. It is Monday, 3 May 2027, 10:00."
    first = stand.say("Hi", answer="Hello", system=system, inputs={"tone": "dry"})

    others = [
        stand.say("Hi", "Hello", "How?", answer="Fine", system="You are a pirate.", inputs={"tone": "dry"}),
        stand.say("Hi", "Hello", "How?", answer="Fine", system=system, inputs={"tone": "wet"}),
    ]
    later = system.replace("Monday, 3 May", "Tuesday, 4 June").replace("10:00", "11:59")
    same = stand.say("Hi", "Hello", "How?", answer="Fine", system=later, inputs={"tone": "dry"})

    assert first.conversation_id not in {other.conversation_id for other in others}
    assert same.conversation_id == first.conversation_id


def test_with_a_chat_id_the_system_prompt_may_change(stand: TurnStand) -> None:
    first = stand.say("Hi", answer="Hello", by=CHAT, system="You are a lawyer.")
    second = stand.say("Hi", "Hello", "How?", answer="Fine", by=CHAT, system="You are a pirate.")

    assert second.conversation_id == first.conversation_id


# Clients that show only a part


def test_a_lone_message_continues_a_chat_that_never_showed_its_history(stand: TurnStand) -> None:
    first = stand.say("Hi", answer="Hello", by=CHAT)
    second = stand.say("How?", answer="Fine", by=CHAT)
    third = stand.say("Why?", answer="Luck", by=CHAT)

    assert first.conversation_id == second.conversation_id == third.conversation_id
    assert third.sees == ["Hi", "Hello", "How?", "Fine", "Why?"]
    assert not third.held.memory_was_lost


def test_a_lone_message_is_an_edit_of_the_first_where_history_was_shown(stand: TurnStand) -> None:
    first = stand.say("Hi", answer="Hello", by=CHAT)
    stand.say("Hi", "Hello", "How?", answer="Fine", by=CHAT)

    for edited in ("Hey", "Hi", "Howdy"):
        edit = stand.say(edited, answer="Hello", by=CHAT)

        assert edit.conversation_id != first.conversation_id
        assert edit.sees == [edited]
        assert not edit.held.memory_was_lost


def test_a_lone_message_is_an_edit_where_the_client_sends_whole_transcripts(stand: TurnStand) -> None:
    first = stand.say("Hi", answer="Hello", by=WHOLE)
    edit = stand.say("Hey", answer="Hello", by=WHOLE)

    assert edit.conversation_id != first.conversation_id
    assert edit.sees == ["Hey"]
    assert not edit.held.memory_was_lost


def test_a_lone_message_without_a_chat_id_begins_anew(stand: TurnStand) -> None:
    first = stand.say("Hi", answer="Hello")

    assert stand.say("How?", answer="Fine").conversation_id != first.conversation_id


def test_history_shown_once_counts_although_a_named_turn_showed_none(stand: TurnStand) -> None:
    first = stand.say("Hi", answer="Hello", by=CHAT)
    stand.say("Hi", "Hello", "How?", answer="Fine", by=CHAT)
    context = ClientContext(chat_id="chat-1", conversation_id=first.conversation_id)
    stand.say("Why?", answer="Luck", by=Sender(context))

    edit = stand.say("Hey", answer="Hello", by=CHAT)

    assert edit.conversation_id != first.conversation_id
    assert edit.sees == ["Hey"]


def test_a_sliding_window_continues(stand: TurnStand) -> None:
    stand.say("Hi", answer="Hello", by=CHAT)
    whole = stand.say("Hi", "Hello", "How?", answer="Fine", by=CHAT)

    windows = [
        stand.say("How?", "Fine", "Why?", answer="Luck", by=CHAT),
        stand.say("Why?", "Luck", "When?", answer="Now", by=CHAT),
    ]

    assert {window.conversation_id for window in windows} == {whole.conversation_id}
    assert windows[1].sees == ["Hi", "Hello", "How?", "Fine", "Why?", "Luck", "When?"]


def test_a_window_may_begin_with_an_answer(stand: TurnStand) -> None:
    stand.say("Hi", answer="Hello", by=CHAT)
    whole = stand.say("Hi", "Hello", "How?", answer="Fine", by=CHAT)
    history = (
        HistoryMessage("assistant", "Hello"),
        HistoryMessage("user", "How?"),
        HistoryMessage("assistant", "Fine"),
    )

    turn = stand.begin_with(Turn("Why?", history, newest=HistoryMessage("user", "Why?")), CHAT)

    assert turn.held.conversation_id == whole.conversation_id


def test_a_window_edited_in_place_is_no_window(stand: TurnStand) -> None:
    stand.say("Hi", answer="Hello", by=CHAT)
    whole = stand.say("Hi", "Hello", "How?", answer="Fine", by=CHAT)

    edited = stand.say("Who?", "Fine", "Why?", answer="Luck", by=CHAT)

    assert edited.conversation_id != whole.conversation_id
    assert edited.sees == ["Who?", "Fine", "Why?"]


def test_an_early_edit_in_a_long_chat_is_no_window(stand: TurnStand) -> None:
    texts = ["Hi"]
    for number in range(40):
        last = stand.say(*texts, answer=f"answer {number}", by=CHAT)
        texts += [f"answer {number}", f"question {number}"]
    texts[0] = "Hey"

    edited = stand.say(*texts, answer="Well", by=CHAT)

    assert edited.conversation_id != last.conversation_id
    assert edited.sees == texts


def test_a_window_of_a_client_known_to_send_whole_transcripts_is_an_edit(stand: TurnStand) -> None:
    stand.say("Hi", answer="Hello", by=WHOLE)
    whole = stand.say("Hi", "Hello", "How?", answer="Fine", by=WHOLE)

    assert stand.say("How?", "Fine", "Why?", answer="Luck", by=WHOLE).conversation_id != whole.conversation_id


def test_a_window_without_a_chat_id_is_replayed(stand: TurnStand) -> None:
    stand.say("Hi", answer="Hello")
    stand.say("Hi", "Hello", "How?", answer="Fine")

    assert stand.say("How?", "Fine", "Why?", answer="Luck").sees == ["How?", "Fine", "Why?"]


def test_a_client_may_begin_to_show_its_history(stand: TurnStand) -> None:
    first = stand.say("Hi", answer="Hello", by=CHAT)
    stand.say("How?", answer="Fine", by=CHAT)

    shown = stand.say("Hi", "Hello", "How?", "Fine", "Why?", answer="Luck", by=CHAT)

    assert shown.conversation_id == first.conversation_id


# Two at once


@pytest.mark.parametrize("by", SENDERS)
def test_of_two_at_once_one_continues_and_the_other_branches(stand: TurnStand, by: Sender) -> None:
    first = stand.say("Hi", answer="Hello", by=by)
    one = stand.begin("Hi", "Hello", "How?", by=by).accept()
    other = stand.begin("Hi", "Hello", "Who?", by=by).accept()
    other.answer("Me")
    one.answer("Fine")

    one_further = stand.say("Hi", "Hello", "How?", "Fine", "Why?", answer="Luck", by=by)
    other_further = stand.say("Hi", "Hello", "Who?", "Me", "Why?", answer="Fate", by=by)

    assert one.conversation_id == first.conversation_id == one_further.conversation_id
    assert other.conversation_id == other_further.conversation_id != first.conversation_id
    assert other.sees == ["Hi", "Hello", "Who?"]
    assert one_further.sees == ["Hi", "Hello", "How?", "Fine", "Why?"]


def test_a_lone_message_beside_a_running_turn_gets_what_dify_remembers(stand: TurnStand) -> None:
    first = stand.say("Hi", answer="Hello", by=CHAT)
    stand.begin("How?", by=CHAT)

    other = stand.begin("Who?", by=CHAT).accept()

    assert other.conversation_id != first.conversation_id
    assert other.sees == ["Hi", "Hello", "Who?"]
    assert not other.held.memory_was_lost
    assert stand.read_as == ["team:ann"]


def test_two_heads_with_the_same_transcript_are_both_usable_at_once(stand: TurnStand) -> None:
    one, other = stand.begin("Hi").accept(), stand.begin("Hi").accept()
    one.answer("Hello")
    other.answer("Hello")
    stand.clock.advance(10)

    further = {stand.begin("Hi", "Hello", "How?").held.conversation_id for _ in range(2)}

    assert further == {one.conversation_id, other.conversation_id}


class MeddledStore(MemoryStore):
    """Something happens between a look at a chat and the claim that follows from it."""

    def __init__(self) -> None:
        super().__init__()
        self.meddle: Callable[[], object] = list

    def find_by_scope(self, scope: str, limit: int) -> list[StoredConversation]:
        found = super().find_by_scope(scope, limit)
        meddle, self.meddle = self.meddle, list
        meddle()
        return found


def test_a_window_that_another_turn_just_moved_on_is_replayed() -> None:
    store = MeddledStore()
    stand = TurnStand(store)
    stand.say("Hi", answer="Hello", by=CHAT)
    whole = stand.say("Hi", "Hello", "How?", answer="Fine", by=CHAT)
    store.meddle = lambda: stand.begin("How?", "Fine", "Why?", by=CHAT).accept().answer("Luck")

    late = stand.begin("How?", "Fine", "Who?", by=CHAT).accept()
    next_window = stand.begin("Why?", "Luck", "When?", by=CHAT)

    assert late.sees == ["How?", "Fine", "Who?"]
    assert next_window.held.conversation_id == whole.conversation_id, "its claim has ended"


def test_a_lone_message_goes_on_although_another_turn_just_moved_the_chat_on() -> None:
    store = MeddledStore()
    stand = TurnStand(store)
    stand.say("Hi", answer="Hello", by=CHAT)
    store.meddle = lambda: stand.begin("Why?", by=CHAT).accept().answer("Luck")

    late = stand.begin("Who?", by=CHAT).accept()

    assert late.sees == ["Hi", "Hello", "Why?", "Luck", "Who?"]


# Named conversations


def test_a_named_conversation_that_is_known_is_continued_whatever_the_transcript_shows(
    stand: TurnStand,
) -> None:
    first = stand.say("Hi", answer="Hello")

    named = stand.say("Something", "else", "How?", answer="Fine", by=naming(first.conversation_id))

    assert named.conversation_id == first.conversation_id
    assert named.sees == ["Hi", "Hello", "How?"]


def test_a_named_conversation_that_is_unknown_is_asked_for_and_then_known(stand: TurnStand) -> None:
    made_elsewhere = stand.new_conversation()

    named = stand.say("Hi", answer="Hello", by=naming(made_elsewhere))
    busy = stand.begin("How?", by=naming(made_elsewhere)).accept()

    assert named.conversation_id == made_elsewhere
    assert named.query == "Hi"
    with pytest.raises(RateLimited):
        stand.begin("Who?", by=naming(made_elsewhere))
    busy.answer("Fine")
    assert stand.begin("Why?", by=naming(made_elsewhere)).accept().sees[-3:] == ["How?", "Fine", "Why?"]


def test_a_named_conversation_in_use_is_429(stand: TurnStand) -> None:
    first = stand.say("Hi", answer="Hello")
    running = stand.begin("Hi", "Hello", "How?").accept()

    with pytest.raises(RateLimited) as refused:
        stand.begin("Who?", by=naming(first.conversation_id))

    assert refused.value.status == 429
    running.answer("Fine")
    assert stand.begin("Who?", by=naming(first.conversation_id)).held.conversation_id == first.conversation_id


def test_a_named_conversation_that_is_gone_is_not_replaced(stand: TurnStand) -> None:
    first = stand.say("Hi", answer="Hello")
    stand.memory.clear()
    turn = stand.begin("How?", by=naming(first.conversation_id))

    with pytest.raises(ConversationNotFound):
        turn.accept()
    turn.held.abandon(may_have_begun=False)

    again = stand.begin("How?", by=naming(first.conversation_id))
    assert again.held.conversation_id == first.conversation_id, "its claim has ended"


def test_a_named_turn_leaves_no_head_that_a_transcript_without_it_fits(stand: TurnStand) -> None:
    first = stand.say("Hi", answer="Hello")
    stand.say("How?", answer="Fine", by=naming(first.conversation_id))

    later = stand.say("Hi", "Hello", "Why?", answer="Luck")

    assert later.conversation_id != first.conversation_id
    assert later.sees == ["Hi", "Hello", "Why?"]


@pytest.mark.parametrize("may_have_begun", [False, True], ids=["refused", "given up"])
def test_a_named_conversation_that_dify_never_confirmed_is_not_remembered(
    stand: TurnStand, may_have_begun: bool
) -> None:
    stand.begin("Hi", by=naming("invented")).held.abandon(may_have_begun=may_have_begun)

    assert list(stand.store.all()) == []


def test_naming_another_user_s_conversation_does_not_disturb_it(stand: TurnStand) -> None:
    first = stand.say("Hi", answer="Hello")
    stranger = replace(naming(first.conversation_id), user="team:bob")
    stand.clock.advance(10)

    named = stand.begin("Mine?", by=stranger)
    beside = stand.begin("Hi", "Hello", "How?").accept().answer("Fine")
    named.held.abandon(may_have_begun=True)
    after = stand.say("Hi", "Hello", "How?", "Fine", "Why?", answer="Luck")

    assert beside.conversation_id == after.conversation_id == first.conversation_id


def in_body(conversation_id: str, chat_header: str = "") -> Sender:
    """A body's `conversation_id`, as `read_client_context` reads it."""
    return Sender(
        ClientContext(chat_id=chat_header or conversation_id, maybe_conversation_id=conversation_id)
    )


def test_a_body_s_conversation_id_is_dify_s_where_this_caller_was_given_it(stand: TurnStand) -> None:
    first = stand.say("Hi", answer="Hello")

    assert stand.say("How?", answer="Fine", by=in_body(first.conversation_id)).sees == ["Hi", "Hello", "How?"]


def test_a_body_s_conversation_id_is_else_the_client_s_chat_id(stand: TurnStand) -> None:
    first = stand.say("Hi", answer="Hello", by=in_body("my-chat"))
    second = stand.say("How?", answer="Fine", by=in_body("my-chat"))

    assert second.conversation_id == first.conversation_id
    assert second.sees == ["Hi", "Hello", "How?"]


def test_another_caller_s_conversation_in_a_body_is_but_a_chat_id(stand: TurnStand) -> None:
    first = stand.say("Hi", answer="Hello")
    stranger = replace(in_body(first.conversation_id), caller="others", user="others")

    turn = stand.say("How?", answer="Fine", by=stranger)

    assert turn.conversation_id != first.conversation_id
    assert turn.sees == ["How?"]


# Conversations that are gone


@pytest.mark.parametrize("silently", [False, True], ids=["Dify says so", "Dify 1.15.0 begins a new one"])
@pytest.mark.parametrize("by", SENDERS)
def test_a_conversation_that_is_gone_is_replayed_and_replaced(by: Sender, silently: bool) -> None:
    stand = TurnStand(begins_anew_silently=silently)
    first = stand.say("Hi", answer="Hello", by=by)
    del stand.memory[first.conversation_id]

    second = stand.say("Hi", "Hello", "How?", answer="Fine", by=by)
    third = stand.say("Hi", "Hello", "How?", "Fine", "Why?", answer="Luck", by=by)

    assert second.sees == ["Hi", "Hello", "How?"]
    assert not second.held.memory_was_lost
    assert third.conversation_id == second.conversation_id
    assert third.sees == ["Hi", "Hello", "How?", "Fine", "Why?"]
    assert len(list(stand.store.all())) == 1


def test_a_lone_message_to_a_conversation_that_is_gone_has_lost_its_memory(stand: TurnStand) -> None:
    first = stand.say("Hi", answer="Hello", by=CHAT)
    del stand.memory[first.conversation_id]

    second = stand.say("How?", answer="Fine", by=CHAT)
    third = stand.say("Why?", answer="Luck", by=CHAT)

    assert second.held.memory_was_lost
    assert second.sees == ["How?"]
    assert third.sees == ["How?", "Fine", "Why?"]
    assert not third.held.memory_was_lost


def test_a_lone_message_after_the_app_s_key_changed_has_lost_its_memory(stand: TurnStand) -> None:
    first = stand.say("Hi", answer="Hello", by=CHAT)

    second = stand.say("How?", answer="Fine", by=replace(CHAT, api_key="app-new"))

    assert second.conversation_id != first.conversation_id
    assert second.held.memory_was_lost
    assert stand.read_as == [], "the new app knows nothing of the old one's conversations"


def test_a_chat_s_first_message_has_lost_nothing(stand: TurnStand) -> None:
    assert not stand.begin("Hi", by=CHAT).held.memory_was_lost


# Turns that failed or were stopped


@pytest.mark.parametrize("by", SENDERS)
@pytest.mark.parametrize("said", ["", "Fi"], ids=["nothing said", "half an answer"])
def test_a_turn_that_broke_off_is_not_in_the_memory_of_the_next(
    stand: TurnStand, by: Sender, said: str
) -> None:
    first = stand.say("Hi", answer="Hello", by=by)
    stand.begin("Hi", "Hello", "How?", by=by).accept().break_off(said)

    again = stand.say("Hi", "Hello", "How?", answer="Fine", by=by)
    further = stand.say("Hi", "Hello", "How?", "Fine", "Why?", answer="Luck", by=by)

    assert again.conversation_id != first.conversation_id
    assert again.sees == ["Hi", "Hello", "How?"]
    assert further.conversation_id == again.conversation_id


def test_a_partial_answer_that_the_client_shows_is_replayed(stand: TurnStand) -> None:
    stand.say("Hi", answer="Hello")
    stand.begin("Hi", "Hello", "How?").accept().break_off("Fi")

    assert stand.say("Hi", "Hello", "How?", "Fi", "Why?", answer="Luck").sees == [
        "Hi",
        "Hello",
        "How?",
        "Fi",
        "Why?",
    ]


def test_a_client_that_shows_nothing_goes_on_with_what_dify_holds(stand: TurnStand) -> None:
    first = stand.say("Hi", answer="Hello", by=CHAT)
    stand.begin("How?", by=CHAT).accept().break_off("Fi")

    further = stand.say("Why?", answer="Luck", by=CHAT)

    assert further.conversation_id == first.conversation_id
    assert further.sees == ["Hi", "Hello", "How?", "Fi", "Why?"]


def test_a_turn_that_ends_late_does_not_take_back_a_client_that_went_on_elsewhere(stand: TurnStand) -> None:
    stand.say("Hi", answer="Hello", by=CHAT)
    left = stand.begin("How?", by=CHAT).accept()
    elsewhere = stand.say("Who?", answer="Me", by=CHAT)
    stand.clock.advance(10)
    left.break_off("Fi")

    further = stand.say("Why?", answer="Luck", by=CHAT)

    assert further.conversation_id == elsewhere.conversation_id != left.conversation_id
    assert further.sees == ["Hi", "Hello", "How?", "Who?", "Me", "Why?"]


def test_a_client_that_shows_nothing_stays_with_its_newest_conversation(stand: TurnStand) -> None:
    one, other = stand.begin("Hi", by=CHAT).accept(), stand.begin("Hey", by=CHAT).accept()
    one.answer("Hello")
    stand.clock.advance(10)
    newest = other.answer("Hello")
    stand.begin("How?", by=CHAT).accept().break_off("Fi")

    assert stand.say("Why?", answer="Luck", by=CHAT).conversation_id == newest.conversation_id


@pytest.mark.parametrize("by", SENDERS)
def test_a_turn_that_dify_refused_leaves_the_head_as_it_was(stand: TurnStand, by: Sender) -> None:
    first = stand.say("Hi", answer="Hello", by=by)
    stand.begin("Hi", "Hello", "How?", by=by).held.abandon(may_have_begun=False)

    assert stand.say("Hi", "Hello", "How?", answer="Fine", by=by).conversation_id == first.conversation_id


@pytest.mark.parametrize("by", SENDERS)
def test_a_turn_given_up_before_dify_spoke_may_be_in_its_memory(stand: TurnStand, by: Sender) -> None:
    first = stand.say("Hi", answer="Hello", by=by)
    stand.clock.advance(10)
    stand.begin("Hi", "Hello", "How?", by=by).held.abandon(may_have_begun=True)

    again = stand.begin("Hi", "Hello", "Who?", by=by).accept()
    named = stand.begin("Why?", by=naming(first.conversation_id))

    assert again.sees == ["Hi", "Hello", "Who?"]
    assert named.held.conversation_id == first.conversation_id, "its claim has ended"
    assert stand.slept == [SPACING_SECONDS]


def test_a_first_turn_given_up_before_dify_spoke_leaves_nothing(stand: TurnStand) -> None:
    stand.begin("Hi", by=CHAT).held.abandon(may_have_begun=True)

    assert list(stand.store.all()) == []


def test_a_first_turn_that_dify_refused_leaves_nothing(stand: TurnStand) -> None:
    stand.begin("Hi", by=CHAT).held.abandon(may_have_begun=False)

    assert list(stand.store.all()) == []


@pytest.mark.parametrize("ended", ["finished", "abandoned"])
def test_a_turn_whose_conversation_dify_does_not_name_lets_go_of_it(stand: TurnStand, ended: str) -> None:
    """As the events do that Dify 1.15 makes up for a chatflow's refused run."""
    first = stand.say("Hi", answer="Hello")
    turn = stand.begin("Hi", "Hello", "How?")
    assert turn.held.started(ReplyStarted("task-1"))
    turn.held.finish("Fine") if ended == "finished" else turn.held.abandon(may_have_begun=True)

    assert stand.begin("Why?", by=naming(first.conversation_id)).held.conversation_id == first.conversation_id


# Times


def test_turns_of_one_conversation_are_a_message_time_apart(stand: TurnStand) -> None:
    stand.begin("Hi").accept().answer("Hello")
    stand.clock.advance(0.3)

    stand.begin("Hi", "Hello", "How?")

    assert stand.slept == [pytest.approx(SPACING_SECONDS - 0.3)]


def test_a_turn_that_broke_off_counts_for_the_distance_too(stand: TurnStand) -> None:
    stand.begin("Hi", by=CHAT).accept().break_off("He")

    stand.begin("How?", by=CHAT)

    assert stand.slept == [SPACING_SECONDS]


@pytest.mark.parametrize(
    "texts", [["Hi"], ["Hi", "Hello", "How?"]], ids=["a later turn", "another conversation"]
)
def test_nobody_waits_without_a_reason(stand: TurnStand, texts: list[str]) -> None:
    stand.begin("Hi").accept().answer("Hello")
    if len(texts) > 1:
        stand.clock.advance(SPACING_SECONDS)

    stand.begin(*texts)

    assert stand.slept == []


def test_a_clock_set_back_holds_nobody_longer_than_the_distance(stand: TurnStand) -> None:
    stand.begin("Hi").accept().answer("Hello")
    stand.clock.advance(-3_600)

    stand.begin("Hi", "Hello", "How?")

    assert stand.slept == [SPACING_SECONDS]


def test_a_claim_is_held_for_as_long_as_its_turn_lasts(stand: TurnStand) -> None:
    first = stand.say("Hi", answer="Hello")
    long = stand.begin("Hi", "Hello", "How?").accept()
    for _ in range(600):
        stand.clock.advance(1)
        long.held.keep()

    assert stand.begin("Hi", "Hello", "Who?").held.conversation_id is None
    with pytest.raises(RateLimited):
        stand.begin("Who?", by=naming(first.conversation_id))
    long.answer("Fine")
    further = stand.say("Hi", "Hello", "How?", "Fine", "Why?", answer="Luck")
    assert further.conversation_id == first.conversation_id


def test_keeping_a_place_costs_a_call_every_now_and_then(stand: TurnStand) -> None:
    renewals: list[float] = []

    class CountingStore(MemoryStore):
        def renew(self, id: str, *, claim: str, until: float) -> bool:  # noqa: A002 - As the Protocol has it.
            renewals.append(until)
            return super().renew(id, claim=claim, until=until)

    stand = TurnStand(CountingStore())
    stand.say("Hi", answer="Hello")
    turn = stand.begin("Hi", "Hello", "How?").accept()
    for _ in range(5 * 60):
        stand.clock.advance(0.2)
        turn.held.keep()

    assert 1 <= len(renewals) <= 3


def test_a_holder_that_died_blocks_nobody_for_long(stand: TurnStand) -> None:
    first = stand.say("Hi", answer="Hello")
    stand.begin("How?", by=naming(first.conversation_id))
    stand.clock.advance(CLAIM_SECONDS + 1)

    assert stand.begin("Who?", by=naming(first.conversation_id)).held.conversation_id == first.conversation_id


def test_a_turn_whose_holder_died_is_not_in_the_memory_of_the_next(stand: TurnStand) -> None:
    stand.say("Hi", answer="Hello")
    stand.begin("Hi", "Hello", "How?").accept()
    stand.clock.advance(CLAIM_SECONDS + 1)

    assert stand.begin("Hi", "Hello", "How?").accept().sees == ["Hi", "Hello", "How?"]


def test_a_late_holder_does_not_overwrite_who_took_over(stand: TurnStand) -> None:
    first = stand.say("Hi", answer="Hello", by=CHAT)
    late = stand.begin("How?", by=CHAT).accept()
    stand.clock.advance(CLAIM_SECONDS + 1)
    taker = stand.begin("Who?", by=CHAT).accept()
    assert taker.conversation_id == first.conversation_id

    late.held.keep()
    late.answer("Fine")

    with pytest.raises(RateLimited):
        stand.begin("Why?", by=naming(first.conversation_id))
    taker.answer("Me")
    (stored,) = stand.store.all()
    assert stored.turns == 2


# Where the history and the system prompt go


RULES = InputField("system", "paragraph", required=True)


@pytest.mark.parametrize(
    ("by", "first", "later"),
    [
        pytest.param(
            NOBODY_KNOWN,
            ("<instructions>\nBe brief\n</instructions>\n\nUser: Hi", {}),
            ("How?", {}),
            id="in front of the first query",
        ),
        pytest.param(
            Sender(form=(RULES,)),
            ("User: Hi", {"system": "Be brief"}),
            ("How?", {"system": "Be brief"}),
            id="an input, every time",
        ),
        pytest.param(
            Sender(form=(InputField("history", "paragraph"),)),
            ("<instructions>\nBe brief\n</instructions>\n\nUser: Hi", {}),
            ("How?", {}),
            id="an input for the history that nothing fills",
        ),
        pytest.param(
            Sender(form=(InputField("memory", "paragraph", required=True),), history=IntoInput("memory")),
            ("<instructions>\nBe brief\n</instructions>\n\nUser: Hi", {}),
            ("How?", {"memory": "User: Hi\n\nAssistant: Hello"}),
            id="a required input for the history",
        ),
    ],
)
def test_first_and_later_turns_are_told_what_they_need(
    stand: TurnStand, by: Sender, first: tuple[str, object], later: tuple[str, object]
) -> None:
    one = stand.say("Hi", answer="Hello", by=by, system="Be brief")
    other = stand.say("Hi", "Hello", "How?", answer="Fine", by=by, system="Be brief")

    assert other.conversation_id == one.conversation_id
    assert (one.held.text.query, one.held.text.inputs) == first
    assert (other.held.text.query, other.held.text.inputs) == later


def test_a_replay_is_told_again_in_the_input_for_it(stand: TurnStand) -> None:
    by = Sender(form=(InputField("history", "paragraph"),))
    first = stand.say("Hi", answer="Hello", by=by)
    del stand.memory[first.conversation_id]

    anew = stand.begin("Hi", "Hello", "How?", by=by).accept()

    assert anew.query == "User: How?"
    assert anew.held.text.inputs == {"history": "User: Hi\n\nAssistant: Hello"}


# Turns that nobody continues

TASK = Sender(ClientContext(chat_id="chat-1", is_task=True))
TEMPORARY = Sender(ClientContext(chat_id="temporary:1", is_temporary=True))


@pytest.mark.parametrize("by", [TASK, TEMPORARY], ids=["a task", "a temporary chat"])
@pytest.mark.parametrize("ended", ["finished", "abandoned"])
def test_tasks_and_temporary_chats_leave_nothing(stand: TurnStand, by: Sender, ended: str) -> None:
    turn = stand.begin("Hi", "Hello", "How?", by=by).accept()
    turn.held.keep()
    assert stand.deleted == []
    turn.answer("Fine") if ended == "finished" else turn.break_off("Fi")
    turn.held.abandon(may_have_begun=True)

    assert turn.sees == ["Hi", "Hello", "How?"]
    assert stand.deleted == [(turn.conversation_id, "team:ann")], "once"
    assert list(stand.store.all()) == []


def test_a_task_never_enters_the_person_s_conversation(stand: TurnStand) -> None:
    first = stand.say("Hi", answer="Hello", by=CHAT)
    named = replace(TASK, context=structs.replace(TASK.context, conversation_id=first.conversation_id))
    tasks = [
        stand.begin("Hi", "Hello", "A title?", by=TASK).accept().answer("A greeting"),
        stand.begin("A title?", by=named).accept().answer("A greeting"),
    ]

    further = stand.say("Hi", "Hello", "How?", answer="Fine", by=CHAT)

    assert first.conversation_id not in {task.conversation_id for task in tasks}
    assert further.conversation_id == first.conversation_id
    assert further.sees == ["Hi", "Hello", "How?"]


@pytest.mark.parametrize("mode", ["workflow", "completion"])
def test_apps_without_memory_never_touch_the_store(mode: AppMode) -> None:
    stand = TurnStand(MemoryStore(is_down=True))
    context = ClientContext(chat_id="chat-1", conversation_id="named", maybe_conversation_id="maybe")

    turn = stand.begin("Hi", "Hello", "How?", by=Sender(context, mode=mode))
    assert turn.held.started(ReplyStarted("task-1"))
    turn.held.keep()
    turn.held.finish("Fine")

    assert turn.query == "User: How?", "the last message alone"
    assert turn.held.conversation_id is None
    assert not turn.held.begin_anew()
    assert (stand.forgiving.failures, stand.deleted) == (0, [])


def following(turn: ClientTurn, message_id: str = "message-1") -> Sender:
    """A client that names the answer behind which it goes on."""
    return Sender(ClientContext(follows=Place(turn.conversation_id, message_id)))


def test_a_turn_goes_on_behind_the_answer_that_it_follows() -> None:
    stand = TurnStand()
    first = stand.say("Hi", answer="Hello")

    second = stand.say("How?", answer="Fine", by=following(first))

    assert second.conversation_id == first.conversation_id
    assert second.sees == ["Hi", "Hello", "How?"]


@pytest.mark.parametrize("message_id", ["an earlier one", ""])
def test_a_turn_branches_off_where_the_conversation_went_on_behind_that_answer(message_id: str) -> None:
    stand = TurnStand()
    first = stand.say("Hi", answer="Hello")

    second = stand.say("Hi", "Hello", "How?", answer="Fine", by=following(first, message_id))

    assert second.conversation_id != first.conversation_id
    assert second.sees == ["Hi", "Hello", "How?"]


def test_a_turn_follows_no_answer_of_another_app() -> None:
    stand = TurnStand()
    first = stand.say("Hi", answer="Hello")

    second = stand.say("How?", answer="Fine", by=replace(following(first), model="other"))

    assert second.conversation_id != first.conversation_id
