"""Never lost, never mixed: each thing that a client may do to a chat, and what Dify must then remember."""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from tests.fakes.waiting import wait_until
from tests.memory.chats import Answer, Chatter, Message, assistant, user
from tests.memory.servers import APP_KEYS, CHATFLOW, OTHER_MODEL, Stand

NAME = user("My name is Ada LONG:3")
AGE = user("I am 36 LONG:4")
WHO = user("MEMORY Who am I?")


def in_chat(stand: Stand, chat_id: str = "chat-1", **fields: object) -> Chatter:
    """A client that says which chat it is, and nothing else of itself."""
    return stand.chatter(headers={"X-Chat-Id": chat_id}, **fields)


def open_webui(stand: Stand, chat_id: str = "chat-1", **headers: str) -> Chatter:
    return stand.chatter(headers={"X-OpenWebUI-Chat-Id": chat_id, "X-OpenWebUI-User-Id": "ada", **headers})


def told_about_ada(chatter: Chatter) -> tuple[list[Message], Answer]:
    """A chat of two turns, as a client that keeps its transcript shows it, and its last answer."""
    first = chatter.ask(NAME)
    second = chatter.ask(NAME, assistant(first.text), AGE)
    assert first.finished
    assert second.finished
    assert second.conversation_id == first.conversation_id
    return [NAME, assistant(first.text), AGE, assistant(second.text)], second


# The same transcript plus one user message


@pytest.mark.parametrize("streamed", [True, False], ids=["streamed", "whole"])
@pytest.mark.parametrize("model", ["demo-chat", "demo-agent-chat", CHATFLOW])
def test_the_same_transcript_plus_one_message_continues_and_sends_only_the_new_message(
    stand: Stand, model: str, streamed: bool
) -> None:
    transcript, last = told_about_ada(chatter := stand.chatter(model=model, streamed=streamed))

    answer = chatter.ask(*transcript, WHO)

    assert answer.conversation_id == last.conversation_id
    assert answer.told == [*transcript, WHO]


def test_an_answer_that_the_client_trimmed_and_stripped_of_its_thoughts_still_continues(stand: Stand) -> None:
    chatter = stand.chatter(model=CHATFLOW)
    asked = user("THINK about Ada")
    first = chatter.ask(asked)

    answer = chatter.ask(asked, assistant(f"<think>hm\r\nhm</think>\r\n{first.text}\n "), WHO)

    assert answer.conversation_id == first.conversation_id


def test_a_system_prompt_with_another_time_of_day_still_continues(stand: Stand) -> None:
    chatter = stand.chatter()
    first = chatter.ask(("system", "It is Monday, 10:15."), NAME)

    shown = [("system", "It is Tuesday, 11:59."), NAME, assistant(first.text), WHO]
    answer = chatter.ask(*shown)

    assert answer.conversation_id == first.conversation_id


# A known chat id, and its transcript


def test_a_known_chat_id_with_its_transcript_continues(stand: Stand) -> None:
    transcript, last = told_about_ada(chatter := in_chat(stand))

    answer = chatter.ask(*transcript, WHO)

    assert answer.conversation_id == last.conversation_id
    assert answer.told == [*transcript, WHO]


def test_the_same_transcript_under_another_chat_id_is_another_chat(stand: Stand) -> None:
    transcript, last = told_about_ada(chatter := in_chat(stand))
    elsewhere = stand.chatter(key=chatter.key, headers={"X-Chat-Id": "chat-2"})

    answer = elsewhere.ask(*transcript, WHO)

    assert answer.conversation_id != last.conversation_id
    assert answer.memory == [*transcript, WHO]


# A known chat id, and nothing but the new message


def test_a_known_chat_id_with_only_the_new_message_continues(stand: Stand) -> None:
    chatter = in_chat(stand)
    first = chatter.ask(NAME)
    second = chatter.ask(AGE)

    answer = chatter.ask(WHO)

    assert answer.conversation_id == second.conversation_id == first.conversation_id
    assert answer.told == [NAME, assistant(first.text), AGE, assistant(second.text), WHO]


def test_open_webui_with_only_the_new_message_has_edited_the_first(stand: Stand) -> None:
    chatter = open_webui(stand)
    first = chatter.ask(NAME)

    answer = chatter.ask(WHO)

    assert answer.conversation_id != first.conversation_id
    assert answer.memory == [WHO]


def test_a_lone_message_in_a_chat_that_showed_its_history_has_edited_the_first(stand: Stand) -> None:
    _, last = told_about_ada(chatter := in_chat(stand))

    answer = chatter.ask(WHO)

    assert answer.conversation_id != last.conversation_id
    assert answer.memory == [WHO]


# A known chat id, and a sliding window


def test_a_sliding_window_that_ends_with_the_last_answer_continues(stand: Stand) -> None:
    transcript, last = told_about_ada(chatter := in_chat(stand))

    answer = chatter.ask(*transcript[-2:], WHO)

    assert answer.conversation_id == last.conversation_id
    assert answer.told == [*transcript, WHO]


def test_a_sliding_window_goes_on_sliding(stand: Stand) -> None:
    transcript, last = told_about_ada(chatter := in_chat(stand))
    for number in range(4):
        asked = user(f"And then {number} LONG:{number + 5}")
        answer = chatter.ask(*transcript[-2:], asked)
        assert answer.conversation_id == last.conversation_id
        transcript += [asked, assistant(answer.text)]

    assert chatter.ask(*transcript[-3:-1], transcript[-1], WHO).told == [*transcript, WHO]


def test_a_sliding_window_that_ends_with_an_earlier_answer_is_replayed(stand: Stand) -> None:
    transcript, last = told_about_ada(chatter := in_chat(stand))

    answer = chatter.ask(*transcript[:2], WHO)

    assert answer.conversation_id != last.conversation_id
    assert answer.memory == [*transcript[:2], WHO]


# Edits, regenerations, branches, tabs


@pytest.mark.parametrize("with_chat_id", [True, False], ids=["chat id", "no chat id"])
def test_an_edited_message_begins_a_new_conversation_and_the_old_branch_stays_usable(
    stand: Stand, with_chat_id: bool
) -> None:
    transcript, last = told_about_ada(chatter := in_chat(stand) if with_chat_id else stand.chatter())

    edited = chatter.ask(*transcript[:2], user("I am 63 MEMORY"))
    old = chatter.ask(*transcript, WHO)

    assert edited.conversation_id != last.conversation_id
    assert edited.memory == [*transcript[:2], user("I am 63 MEMORY")]
    assert old.conversation_id == last.conversation_id
    assert old.told == [*transcript, WHO]


@pytest.mark.parametrize("with_chat_id", [True, False], ids=["chat id", "no chat id"])
def test_a_regenerated_answer_begins_a_new_conversation_that_then_continues(
    stand: Stand, with_chat_id: bool
) -> None:
    transcript, last = told_about_ada(chatter := in_chat(stand) if with_chat_id else stand.chatter())

    again = chatter.ask(*transcript[:3])
    regenerated = [*transcript[:3], assistant(again.text)]
    answer = chatter.ask(*regenerated, WHO)

    assert again.conversation_id != last.conversation_id
    assert answer.conversation_id == again.conversation_id
    assert answer.memory == [*regenerated, WHO]


def test_two_tabs_of_one_chat_each_keep_their_own_memory(stand: Stand) -> None:
    transcript, last = told_about_ada(chatter := in_chat(stand))
    here, there = user("Red LONG:8"), user("Green LONG:9")

    first = chatter.ask(*transcript, here)
    second = chatter.ask(*transcript, there)
    goes_on = chatter.ask(*transcript, here, assistant(first.text), WHO)
    other_goes_on = chatter.ask(*transcript, there, assistant(second.text), WHO)

    assert goes_on.conversation_id == first.conversation_id == last.conversation_id
    assert goes_on.memory == [*transcript, here, assistant(first.text), WHO]
    assert other_goes_on.conversation_id == second.conversation_id != last.conversation_id
    assert other_goes_on.memory == [*transcript, there, assistant(second.text), WHO]


# No chat id, and a transcript that nobody knows


def test_an_unknown_transcript_is_replayed_into_a_new_conversation(stand: Stand) -> None:
    shown = [NAME, assistant("Hello Ada."), AGE, assistant("So young!")]

    answer = stand.chatter().ask(*shown, WHO)

    assert len(answer.told) == 1
    assert answer.memory == [*shown, WHO]


# Never two turns in one conversation at the same time


@pytest.mark.parametrize("with_chat_id", [True, False], ids=["chat id", "no chat id"])
def test_of_two_requests_at_once_one_continues_and_the_other_branches(
    stand: Stand, with_chat_id: bool
) -> None:
    transcript, last = told_about_ada(chatter := in_chat(stand) if with_chat_id else stand.chatter())
    questions = [user("MEMORY SLOW:0.4 Red"), user("MEMORY SLOW:0.4 Green")]

    with ThreadPoolExecutor(len(questions)) as pool:
        answers = list(pool.map(lambda asked: chatter.ask(*transcript, asked), questions))

    assert [answer.memory for answer in answers] == [[*transcript, asked] for asked in questions]
    assert [answer.conversation_id == last.conversation_id for answer in answers].count(True) == 1


def test_two_lone_messages_of_one_chat_at_once_both_know_what_was_said(stand: Stand) -> None:
    chatter = in_chat(stand)
    first = chatter.ask(NAME)
    questions = [user("MEMORY SLOW:0.4 Red"), user("MEMORY SLOW:0.4 Green")]

    with ThreadPoolExecutor(len(questions)) as pool:
        answers = list(pool.map(chatter.ask, questions))

    said = [NAME, assistant(first.text)]
    assert len({answer.conversation_id for answer in answers}) == len(questions)
    assert [answer.memory[:2] for answer in answers] == [said, said]
    assert [answer.memory[-1] for answer in answers] == questions


def test_turns_that_follow_each_other_at_once_do_not_mix_up_the_memory(stand: Stand) -> None:
    transcript, last = told_about_ada(chatter := stand.chatter())
    for number in range(6):
        asked = user(f"And then {number} LONG:{number + 5}")
        answer = chatter.ask(*transcript, asked)
        assert answer.conversation_id == last.conversation_id
        transcript += [asked, assistant(answer.text)]

    assert chatter.ask(*transcript, WHO).told == [*transcript, WHO]


# Dify has lost it


@pytest.mark.parametrize("model", ["demo-chat", CHATFLOW])
@pytest.mark.parametrize("with_chat_id", [True, False], ids=["chat id", "no chat id"])
def test_a_conversation_deleted_in_dify_is_replayed_and_then_goes_on(
    stand: Stand, with_chat_id: bool, model: str
) -> None:
    chatter = in_chat(stand, model=model) if with_chat_id else stand.chatter(model=model)
    transcript, last = told_about_ada(chatter)
    stand.dify.forget(last.conversation_id, APP_KEYS[model])

    asked = user("What now LONG:5")
    answer = chatter.ask(*transcript, asked)
    transcript += [asked, assistant(answer.text)]
    following = chatter.ask(*transcript, WHO)

    assert answer.finished
    assert answer.conversation_id != last.conversation_id
    assert following.conversation_id == answer.conversation_id
    assert following.memory == [*transcript, WHO]


def test_a_client_that_shows_nothing_is_told_that_dify_lost_its_memory(stand: Stand) -> None:
    chatter = in_chat(stand)
    first = chatter.ask(NAME)
    stand.dify.forget(first.conversation_id)

    answer = chatter.ask(WHO)

    assert answer.memory == [WHO]
    assert answer.headers["X-OpenDify-Memory"] == "lost"


# A stream that failed, or that its client left


BREAKS = ["FAIL500", "FAILMID LONG:9", "ERRMID LONG:9", "DROP:0", "DROP:3 LONG:9", "EOF:2 LONG:9"]


@pytest.mark.parametrize("how", BREAKS)
@pytest.mark.parametrize("model", ["demo-chat", CHATFLOW])
def test_after_a_failure_the_next_turn_remembers_what_the_client_shows(
    stand: Stand, model: str, how: str
) -> None:
    transcript, _ = told_about_ada(chatter := stand.chatter(model=model))

    failed = chatter.ask(*transcript, user(f"Break {how}"))
    answer = chatter.ask(*transcript, WHO)
    answer_in_time = chatter.ask(*transcript, WHO, assistant(answer.text), user("MEMORY again"))

    assert not failed.finished
    assert answer.memory == [*transcript, WHO]
    assert answer_in_time.memory == [*transcript, WHO, assistant(answer.text), user("MEMORY again")]


@pytest.mark.parametrize("how", BREAKS)
def test_after_a_failure_a_client_that_shows_nothing_keeps_its_memory(stand: Stand, how: str) -> None:
    chatter = in_chat(stand)
    first = chatter.ask(NAME)

    chatter.ask(user(f"Break {how}"))
    answer = chatter.ask(WHO)

    assert answer.memory[:2] == [NAME, assistant(first.text)]
    assert answer.memory[-1] == WHO
    assert "X-OpenDify-Memory" not in answer.headers


@pytest.mark.parametrize("model", ["demo-chat", CHATFLOW])
def test_after_a_client_left_in_mid_answer_what_it_shows_next_is_what_dify_remembers(
    stand: Stand, model: str
) -> None:
    transcript, _ = told_about_ada(chatter := stand.chatter(model=model))

    asked = user("Count RATE:20 LONG:100")
    with chatter.asking(*transcript, asked) as answering:
        heard = answering.next_piece() + answering.next_piece()
    shown = [*transcript, asked, assistant(heard)]
    answer = chatter.ask(*shown, WHO)
    regenerated = chatter.ask(*transcript, WHO)

    assert heard
    assert answer.memory == [*shown, WHO]
    assert regenerated.memory == [*transcript, WHO]


@pytest.mark.parametrize("model", ["demo-chat", CHATFLOW])
def test_after_a_client_left_while_dify_was_silent_the_question_is_not_remembered(
    stand: Stand, model: str
) -> None:
    transcript, _ = told_about_ada(chatter := stand.chatter(model=model))

    leave_while_silent(stand, chatter, *transcript)
    answer = chatter.ask(*transcript, WHO)

    assert answer.memory == [*transcript, WHO]


def leave_while_silent(stand: Stand, chatter: Chatter, *transcript: Message) -> None:
    """Ask what the model thinks about for long, and leave once Dify has been asked."""
    asked = f"Think {chatter.key} SLOW:3"
    chatter.leave(*transcript, user(asked), after_seconds=0.5)
    (run,) = stand.dify.runs(asked)
    # The server has noticed, and let go of the conversation.
    assert wait_until(lambda: stand.is_free(run.conversation_id), 5)


def test_a_turn_that_was_left_does_not_come_before_what_was_said_meanwhile(stand: Stand) -> None:
    chatter = in_chat(stand)
    chatter.ask(NAME)
    # Replayed, the word that slows down the turn that is left would slow down the next one too.
    without_replay = json.dumps({"demo-chat": {"api_key": APP_KEYS["demo-chat"], "history": "off"}})

    with stand.second_server(MODEL_CONFIG=without_replay) as origin:
        asked = f"Think {chatter.key} SLOW:3"
        chatter.leave(user(asked), after_seconds=0.3)
        second = replace(chatter, origin=origin).ask(AGE)
    (left,) = stand.dify.runs(asked)
    assert wait_until(lambda: stand.is_free(left.conversation_id), 5)
    answer = chatter.ask(WHO)

    assert second.conversation_id != left.conversation_id
    assert answer.conversation_id == second.conversation_id


# Conversations that the request names


def test_a_conversation_named_in_a_header_is_continued_without_guessing(stand: Stand) -> None:
    transcript, last = told_about_ada(chatter := stand.chatter())
    naming = stand.chatter(key=chatter.key, headers={"X-Dify-Conversation-Id": last.conversation_id})

    answer = naming.ask(user("Something quite different"), assistant("Indeed."), WHO)

    assert answer.conversation_id == last.conversation_id
    assert answer.told == [*transcript, WHO]


def test_an_unknown_conversation_named_in_a_header_is_not_found(stand: Stand) -> None:
    unknown = "01234567-89ab-4cde-8f01-23456789abcd"

    answer = stand.chatter(headers={"X-Dify-Conversation-Id": unknown}).ask(WHO)

    assert answer.status == 404


def test_a_conversation_deleted_in_dify_and_named_in_a_header_is_not_found(stand: Stand) -> None:
    _, last = told_about_ada(chatter := stand.chatter())
    stand.dify.forget(last.conversation_id)
    naming = stand.chatter(key=chatter.key, headers={"X-Dify-Conversation-Id": last.conversation_id})

    assert naming.ask(WHO).status == 404


@pytest.mark.parametrize("other", ["caller", "user"])
@pytest.mark.parametrize("where", ["header", "body"])
def test_nobody_continues_a_conversation_of_another(stand: Stand, where: str, other: str) -> None:
    _, last = told_about_ada(owner := stand.chatter())
    naming: dict[str, object] = {}
    if where == "header":
        naming["headers"] = {"X-Dify-Conversation-Id": last.conversation_id}
    else:
        naming["body"] = {"conversation_id": last.conversation_id}
    if other == "user":
        naming |= {"key": owner.key, "body": {**naming.get("body", {}), "user": "eve"}}  # type: ignore[dict-item]

    answer = stand.chatter(**naming).ask(WHO)

    assert answer.status == 404 or answer.memory == [WHO]
    assert answer.conversation_id != last.conversation_id


def test_a_body_names_a_conversation_that_the_caller_was_given(stand: Stand) -> None:
    transcript, last = told_about_ada(chatter := stand.chatter())
    naming = stand.chatter(key=chatter.key, body={"conversation_id": last.conversation_id})

    answer = naming.ask(WHO)

    assert answer.conversation_id == last.conversation_id
    assert answer.told == [*transcript, WHO]


def test_a_body_s_conversation_id_that_dify_never_gave_is_the_client_s_own_chat_id(stand: Stand) -> None:
    chatter = stand.chatter(body={"conversation_id": "my own name for it"})
    first = chatter.ask(NAME)

    answer = chatter.ask(WHO)

    assert answer.conversation_id == first.conversation_id
    assert answer.told == [NAME, assistant(first.text), WHO]


@pytest.mark.parametrize("is_known", [True, False], ids=["known", "forgotten"])
def test_a_conversation_that_two_requests_name_at_once_has_never_two_turns_at_a_time(
    stand: Stand, is_known: bool
) -> None:
    _, last = told_about_ada(chatter := stand.chatter())
    if not is_known:
        forget_in_store(stand, last.conversation_id)
    naming = stand.chatter(key=chatter.key, headers={"X-Dify-Conversation-Id": last.conversation_id})
    questions = [user("MEMORY SLOW:0.4 Red"), user("MEMORY SLOW:0.4 Green")]

    with ThreadPoolExecutor(len(questions)) as pool:
        answers = list(pool.map(naming.ask, questions))

    assert {answer.status for answer in answers} <= {200, 429}
    assert all(("assistant", "") not in answer.memory for answer in answers if answer.finished)


def forget_in_store(stand: Stand, conversation_id: str) -> None:
    with stand.store() as store:
        (known,) = [each for each in store.recent(100) if each.conversation_id == conversation_id]
        assert store.delete(known.id)


# Calls that clients make behind the chat


@pytest.mark.parametrize(
    ("headers", "question"),
    [
        ({"X-OpenWebUI-Task": "title_generation"}, "Name this chat"),
        ({}, "### Task:\nGenerate a title.\n<chat_history>\nUSER: hi\n</chat_history>"),
    ],
    ids=["header", "wording"],
)
def test_a_call_behind_the_chat_never_enters_it_and_is_removed_from_dify(
    stand: Stand, headers: dict[str, str], question: str
) -> None:
    transcript, last = told_about_ada(chatter := open_webui(stand))
    behind = stand.chatter(key=chatter.key, headers={**chatter.headers, **headers}, streamed=False)

    title = behind.ask(user(f"{question} {chatter.key} MEMORY"))
    answer = chatter.ask(*transcript, WHO)

    assert title.memory == [user(f"{question} {chatter.key} MEMORY")]
    assert title.conversation_id != last.conversation_id
    assert answer.conversation_id == last.conversation_id
    assert answer.told == [*transcript, WHO]
    (run,) = stand.dify.runs(f"{question} {chatter.key}")
    assert wait_until(lambda: stand.dify.read(title.conversation_id, run.user, run.app_key) is None)


# The model changes inside a chat


@pytest.mark.parametrize("with_chat_id", [True, False], ids=["chat id", "no chat id"])
def test_each_model_has_its_own_conversation_and_is_told_what_was_said_to_the_other(
    stand: Stand, with_chat_id: bool
) -> None:
    transcript, last = told_about_ada(chatter := in_chat(stand) if with_chat_id else stand.chatter())
    other = stand.chatter(key=chatter.key, headers=chatter.headers, model=OTHER_MODEL)

    switched = other.ask(*transcript, WHO)
    told = [*transcript, WHO, assistant(switched.text)]
    back = chatter.ask(*told, user("MEMORY back"))
    stays = other.ask(*told, user("MEMORY stay"))

    assert switched.conversation_id != last.conversation_id
    assert switched.memory == [*transcript, WHO]
    assert back.memory == [*told, user("MEMORY back")]
    assert stays.conversation_id == switched.conversation_id
    assert stays.memory == [*told, user("MEMORY stay")]


# Callers and users


def test_callers_and_users_with_the_same_chat_id_and_words_never_share_a_conversation(stand: Stand) -> None:
    key = stand.chatter().key
    chatters = [in_chat(stand), in_chat(stand)]
    chatters += [in_chat(stand, key=key, body={"user": name}) for name in ("ada", "bob")]
    first = [chatter.ask(NAME) for chatter in chatters]

    answers = [
        chatter.ask(NAME, assistant(said.text), WHO) for chatter, said in zip(chatters, first, strict=True)
    ]

    assert len({said.conversation_id for said in first}) == len(chatters)
    assert [said.conversation_id for said in first] == [answer.conversation_id for answer in answers]
    users = [
        run.user
        for run in stand.dify.runs(WHO[1])
        if run.conversation_id in {a.conversation_id for a in first}
    ]
    assert len(set(users)) == len(chatters)


def test_a_long_transcript_is_continued_by_all_workers(stand: Stand) -> None:
    chatter = stand.chatter()
    transcript: list[Message] = []
    ids = set()
    for number in range(20):
        asked = user(f"Turn {number} LONG:{number + 2}")
        answer = chatter.ask(*transcript, asked)
        ids.add(answer.conversation_id)
        transcript += [asked, assistant(answer.text)]

    assert chatter.ask(*transcript, WHO).told == [*transcript, WHO]
    assert len(ids) == 1


def test_a_new_app_key_begins_a_new_conversation_that_knows_what_was_said(stand: Stand) -> None:
    transcript, last = told_about_ada(chatter := in_chat(stand))
    renewed = json.dumps({"demo-chat": APP_KEYS[OTHER_MODEL]})

    with stand.second_server(MODEL_CONFIG=renewed) as origin:
        answer = replace(chatter, origin=origin).ask(*transcript, WHO)

    assert answer.conversation_id != last.conversation_id
    assert answer.memory == [*transcript, WHO]


def test_two_servers_on_one_store_continue_each_other_s_conversations(stand: Stand) -> None:
    transcript, last = told_about_ada(chatter := stand.chatter())

    with stand.second_server() as origin:
        answer = replace(chatter, origin=origin).ask(*transcript, WHO)

    assert answer.conversation_id == last.conversation_id
    assert answer.told == [*transcript, WHO]
