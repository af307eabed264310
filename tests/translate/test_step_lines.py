from opendify.translate.step_lines import StepLines
from opendify.translate.turn import ReplyEvent, Step, TextDelta, ThoughtDelta


def lines(*events: ReplyEvent) -> str:
    stage = StepLines()
    told = [out for event in events for out in stage.feed(event)]
    return "".join(event.text for event in told if isinstance(event, ThoughtDelta))


def step(name: str, status: str = "running", **fields: int | str) -> Step:
    return Step(id=name, name=name, type="tool", status=status, **fields)  # type: ignore[arg-type]


def test_a_step_is_told_once_however_often_it_comes() -> None:
    assert lines(step("a"), step("a", "finished"), step("b")) == "- a\n- b"


def test_steps_and_thinking_stand_apart() -> None:
    told = lines(step("a"), ThoughtDelta("Hm"), ThoughtDelta(", yes."), step("b"), step("c"))

    assert told == "- a\n\nHm, yes.\n\n- b\n- c"


def test_a_step_in_a_loop_is_indented() -> None:
    assert lines(step("loop"), step("a", level=1), step("b", level=2)) == "- loop\n  - a\n    - b"


def test_contents_are_told_as_they_come_and_say_whose_they_are() -> None:
    told = lines(
        step("a", input="{}"),
        step("b"),
        step("a", "finished", input="{}", output="42"),
        step("b", "failed", output="no"),
    )

    assert told == "- a ← {}\n- b\n- a → 42\n- b → no\n- b: failed"


def test_what_is_no_thinking_passes() -> None:
    events: list[ReplyEvent] = [TextDelta("Hi"), step("a")]

    passed = [out for event in events for out in StepLines().feed(event) if not isinstance(out, ThoughtDelta)]

    assert passed == events


def test_a_loop_of_very_many_steps_ends_in_an_ellipsis() -> None:
    told = lines(*[step(f"s{number}") for number in range(1_000)]).splitlines()

    assert len(told) == 200
    assert told[-2:] == ["- s198", "- …"]
