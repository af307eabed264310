from opendify.translate.agent_rounds import AgentRounds
from opendify.wire import dify


def thought(thought_id: str, text: str = "") -> dify.AgentThought:
    return dify.AgentThought(id=thought_id, thought=text)


def said(*events: str | dify.AgentThought) -> str:
    rounds = AgentRounds()
    texts = []
    for event in events:
        if isinstance(event, str):
            texts.append(rounds.add_text(event))
        else:
            rounds.add_thought(event)
    return "".join(texts)


def test_rounds_are_joined_as_dify_stores_them() -> None:
    assert (
        said(thought("1"), "Let me ", "look.", thought("1"), thought("2"), "It is 42.")
        == "Let me look.\nIt is 42."
    )


def test_rounds_without_words_leave_empty_lines_as_dify_stores_them() -> None:
    assert said(thought("1"), "A", thought("2"), "", thought("3"), "B") == "A\n\nB"


def test_nothing_stands_before_the_first_words() -> None:
    assert said(thought("1"), "", thought("2"), "B") == "B"


def test_a_thought_that_was_said_is_not_told_again() -> None:
    rounds = AgentRounds()
    rounds.add_thought(thought("1", "Let me look."))
    rounds.add_text("Let me look.")

    assert rounds.add_thought(thought("2")) == ""


def test_a_thought_of_a_round_without_words_is_thinking() -> None:
    rounds = AgentRounds()
    rounds.add_thought(thought("1"))
    rounds.add_thought(thought("1", "I need the time."))

    assert rounds.add_thought(thought("2")) == "I need the time."
