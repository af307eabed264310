"""What differs between Dify's versions, and its rule of whole seconds."""

import pytest

from tests.memory.chats import Message, assistant, user
from tests.memory.servers import APP_KEYS, CHATFLOW, Stand, opened_stand

NAME = user("My name is Ada LONG:3")
WHO = user("MEMORY Who am I?")
TURNS = 3


@pytest.mark.parametrize("version", ["0.15.3", "1.13.3", "1.14.2", "1.15.0", "1.16.1"])
def test_each_version_of_dify_continues_and_forgets_without_being_noticed(version: str) -> None:
    with opened_stand("sqlite", version=version) as stand:
        for model in ("demo-chat", "demo-agent-chat", CHATFLOW):
            chatter = stand.chatter(model=model)
            first = chatter.ask(NAME)
            said = [NAME, assistant(first.text)]
            second = chatter.ask(*said, WHO)
            said += [WHO, assistant(second.text)]
            (run,) = [run for run in stand.dify.runs(WHO[1]) if run.conversation_id == first.conversation_id]
            stand.dify.forget(second.conversation_id, APP_KEYS[model], run.user)
            third = chatter.ask(*said, user("MEMORY again"))

            assert third.finished, (model, third)
            assert second.conversation_id == first.conversation_id
            assert second.told == said[:3]
            assert third.conversation_id != first.conversation_id
            assert third.memory == [*said, user("MEMORY again")]


def test_turns_that_follow_at_once_do_not_fall_into_one_of_dify_s_seconds() -> None:
    with opened_stand("sqlite", resolution=1.0) as stand:
        assert remembers_turns_that_follow_at_once(stand)


def test_without_spacing_these_tests_would_see_the_memory_mixed_up() -> None:
    with opened_stand("sqlite", resolution=1.0, spacing=0.001) as stand:
        assert not remembers_turns_that_follow_at_once(stand)


def remembers_turns_that_follow_at_once(stand: Stand) -> bool:
    chatter = stand.chatter()
    said: list[Message] = []
    for number in range(TURNS):
        asked = user(f"Turn {number} LONG:{number + 2}")
        answer = chatter.ask(*said, asked)
        said += [asked, assistant(answer.text)]
    return chatter.ask(*said, WHO).told == [*said, WHO]
