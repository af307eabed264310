import pytest

from opendify.translate.dify_usage import UsageTally, read_price, read_usage
from opendify.translate.turn import CompletionUsage, Price
from opendify.wire.dify import NodeData, Usage, WorkflowFinishedData


@pytest.mark.parametrize(
    ("usage", "counts"),
    [
        pytest.param(Usage(10, 2, 12), CompletionUsage(10, 2), id="whole"),
        pytest.param(Usage(10, 2, 0), CompletionUsage(10, 2), id="an agent of 0.15: total 0"),
        pytest.param(Usage(10, 2), CompletionUsage(10, 2), id="no total"),
        pytest.param(Usage(0, 0, 12), CompletionUsage(0, 12), id="only the total"),
        pytest.param(Usage(total_tokens=12), CompletionUsage(0, 12), id="only the total, no zeros"),
        pytest.param(Usage(10, None, 10), CompletionUsage(10, 0), id="no completion"),
        pytest.param(Usage(10.0, 2.0, 12.0), CompletionUsage(10, 2), id="decimals"),
        pytest.param(Usage(0, 0, 0), CompletionUsage(0, 0), id="zeros"),
        pytest.param(Usage(), None, id="empty"),
        pytest.param(None, None, id="none"),
    ],
)
def test_counts_are_integers_or_absent(usage: Usage | None, counts: CompletionUsage | None) -> None:
    assert read_usage(usage) == counts


def test_the_total_is_the_sum_of_its_parts() -> None:
    assert CompletionUsage(10, 2).total_tokens == 12


@pytest.mark.parametrize(
    ("usage", "price"),
    [
        pytest.param(Usage(total_price="0.0000200", currency="USD"), Price("0.0000200", "USD"), id="decimal"),
        pytest.param(Usage(total_price="0E-7", currency="RMB"), Price("0E-7", "RMB"), id="zero"),
        pytest.param(Usage(total_price=0.5, currency="USD"), Price("0.5", "USD"), id="a number"),
        pytest.param(Usage(total_price="1"), Price("1", ""), id="no currency"),
        pytest.param(Usage(10, 2, 12), None, id="no price"),
        pytest.param(None, None, id="no usage"),
    ],
)
def test_a_price_is_told_as_dify_writes_it(usage: Usage | None, price: Price | None) -> None:
    assert read_price(usage) == price


COUNTS = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}


@pytest.mark.parametrize(
    ("node", "counts"),
    [
        pytest.param(NodeData(outputs={"text": "Hi", "usage": COUNTS}), CompletionUsage(3, 4), id="outputs"),
        pytest.param(NodeData(process_data={"usage": COUNTS}), CompletionUsage(3, 4), id="process data"),
        pytest.param(
            NodeData(outputs={"usage": COUNTS}, process_data={"usage": COUNTS}),
            CompletionUsage(3, 4),
            id="in both, counted once",
        ),
        pytest.param(NodeData(outputs={"usage": {"how": "call it"}}), None, id="an output of that name"),
        pytest.param(NodeData(outputs={"usage": "call it"}), None, id="a text of that name"),
        pytest.param(NodeData(outputs={"usage": {"total_tokens": "many"}}), None, id="counts that are none"),
        pytest.param(NodeData(outputs=["usage"]), None, id="outputs that are no object"),
        pytest.param(NodeData(), None, id="nothing"),
    ],
)
def test_a_nodes_usage_is_found(node: NodeData, counts: CompletionUsage | None) -> None:
    tally = UsageTally()

    tally.add(node)

    assert tally.usage() == counts


def test_nodes_are_added_up_before_the_runs_total_counts() -> None:
    tally = UsageTally()

    tally.finish(WorkflowFinishedData(total_tokens=99))
    assert tally.usage() == CompletionUsage(0, 99)
    tally.add(NodeData(outputs={"usage": COUNTS}))
    tally.add(NodeData(outputs={"usage": COUNTS}))
    assert tally.usage() == CompletionUsage(6, 8)
