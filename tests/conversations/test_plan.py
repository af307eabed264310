from opendify.conversations.plan import plan_run
from opendify.records import AppProfile, InputField
from opendify.settings import DifyApp
from opendify.translate.dify_request import RunText, build_request
from opendify.translate.turn import HistoryMessage, Turn

APP = DifyApp(name="m", api_key="app-x", api_base="https://dify.example/v1")


def test_a_turn_begins_a_conversation_that_is_told_what_came_before() -> None:
    turn = Turn("How?", (HistoryMessage("user", "Hi"), HistoryMessage("assistant", "Hello")))

    plan = plan_run(turn, APP, AppProfile("chat"), replay_max_chars=1_000)

    assert plan.conversation_id is None
    assert plan.text == RunText(
        "<conversation_so_far>\nUser: Hi\n\nAssistant: Hello\n</conversation_so_far>\n\nHow?", {}
    )


def test_the_budget_for_the_history_is_the_callers() -> None:
    turn = Turn("How?", (HistoryMessage("user", "x" * 500),))

    plan = plan_run(turn, APP, AppProfile("chat"), replay_max_chars=100)

    assert "x" not in plan.text.query


def test_a_locked_input_for_the_system_prompt_keeps_the_operators_value() -> None:
    locking = DifyApp(
        name="m",
        api_key="app-x",
        api_base="https://dify.example/v1",
        inputs={"system": "You are a lawyer"},
        locked_inputs=frozenset({"system"}),
    )
    profile = AppProfile("chat", form=(InputField("system", "paragraph"),))

    plan = plan_run(Turn("Hi", system="You are a pirate"), locking, profile, replay_max_chars=1_000)
    request = build_request(plan.text, locking, profile, user="u")

    assert request.body["inputs"] == {"system": "You are a lawyer"}
