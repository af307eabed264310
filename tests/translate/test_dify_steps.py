import pytest

from opendify.settings import Steps
from opendify.translate.dify_steps import StepReader
from opendify.translate.turn import Step
from opendify.wire import dify


def read(*events: dify.StreamEvent, steps: Steps = "names") -> list[Step]:
    reader = StepReader(steps)
    return [step for event in events for step in reader.read(event)]


def thought(tool: str, observation: str = "") -> dify.AgentThought:
    tool_input = '{"weekday": {"year": 2025}}'
    return dify.AgentThought(id="th1", tool=tool, tool_input=tool_input, observation=observation)


def node(**fields: object) -> dify.NodeData:
    return dify.NodeData(**{"id": "e1", "node_id": "n1", "node_type": "llm", "title": "LLM", **fields})  # type: ignore[arg-type]


def test_a_thought_without_a_tool_is_no_step() -> None:
    assert read(thought("")) == []


def test_a_tool_runs_until_it_is_observed() -> None:
    assert read(thought("weekday"), thought("weekday", '{"weekday": "Wednesday"}')) == [
        Step("th1", "weekday", "tool", "running"),
        Step("th1", "weekday", "tool", "finished"),
    ]


def test_tools_of_one_round_are_steps_of_their_own() -> None:
    assert [(step.id, step.name) for step in read(thought("weekday;clock"))] == [
        ("th1/0", "weekday"),
        ("th1/1", "clock"),
    ]


def test_contents_are_told_only_in_full() -> None:
    done = thought("weekday", '{"weekday": "Wednesday"}')

    assert [(step.input, step.output) for step in read(done)] == [("", "")]
    assert [(step.input, step.output) for step in read(done, steps="full")] == [
        ('{"year":2025}', "Wednesday")
    ]


def test_what_went_into_a_node_is_never_told() -> None:
    finished = dify.NodeFinished(data=node(outputs={"text": "Hi"}, process_data={"prompts": ["secret"]}))

    [step] = read(finished, steps="full")

    assert (step.input, step.output) == ("", '{"text":"Hi"}')


def test_nothing_is_told_where_it_is_not_wanted() -> None:
    assert read(thought("weekday"), dify.NodeStarted(data=node()), steps="off") == []


def test_a_node_tells_how_it_ended() -> None:
    ended = node(status="failed", elapsed_time=0.5, execution_metadata={"total_tokens": 7})

    assert read(dify.NodeStarted(data=node()), dify.NodeFinished(data=ended)) == [
        Step("e1", "LLM", "llm", "running"),
        Step("e1", "LLM", "llm", "failed", elapsed_seconds=0.5, tokens=7),
    ]


@pytest.mark.parametrize("node_type", ["start", "end", "answer", "iteration-start"])
def test_the_frame_of_a_graph_is_no_step(node_type: str) -> None:
    assert read(dify.NodeStarted(data=node(node_type=node_type))) == []


def test_what_lies_in_a_loop_that_lies_in_an_iteration_is_two_levels_deep() -> None:
    steps = read(
        dify.IterationStarted(data=node(id="it", node_id="it", node_type="iteration")),
        dify.LoopStarted(data=node(id="lo", node_id="lo", node_type="loop", iteration_id="it")),
        dify.NodeStarted(data=node(loop_id="lo")),
        dify.LoopCompleted(data=node(id="lo", node_id="lo", node_type="loop", iteration_id="it")),
    )

    assert [(step.id, step.level, step.status) for step in steps] == [
        ("it", 0, "running"),
        ("lo", 1, "running"),
        ("e1", 2, "running"),
        ("lo", 1, "succeeded"),
    ]


def test_what_an_agent_node_logs_lies_below_it() -> None:
    steps = read(
        dify.NodeStarted(data=node(node_id="ag", node_type="agent")),
        dify.AgentLog(data=dify.AgentLogData("l1", None, "ag", "ROUND 1", "start")),
        dify.AgentLog(data=dify.AgentLogData("l2", "l1", "ag", "CALL search", "error")),
        dify.AgentLog(data=dify.AgentLogData(None, None, "ag", "without an id")),
    )

    assert [(step.name, step.level, step.status) for step in steps[1:]] == [
        ("ROUND 1", 1, "running"),
        ("CALL search", 2, "failed"),
    ]


@pytest.mark.parametrize("odd", [None, "soon", {}, True])
def test_numbers_that_are_none_are_not_told(odd: object) -> None:
    data = node(execution_metadata=odd, elapsed_time=None if odd is True else odd, total_tokens=None)

    [step] = read(dify.NodeFinished(data=data))

    assert (step.elapsed_seconds, step.tokens) == (None, None)


def test_a_name_stays_on_one_line_and_short() -> None:
    steps = read(dify.NodeStarted(data=node(title="a\nb")), dify.NodeStarted(data=node(title="x" * 300)))

    assert [step.name for step in steps] == ["a b", "x" * 99 + "…"]
