"""The comparison of HTTP clients, small: all that are installed read the whole answer."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from benchmarks.directive import Directive
from benchmarks.targets import mock_dify
from benchmarks.transports import CANDIDATES, LOADS, Cost, Load, build_table, measure


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with mock_dify(tmp_path_factory.mktemp("mock")) as mock:
        yield mock.door.port


@pytest.mark.parametrize("name", CANDIDATES)
def test_every_client_reads_one_whole_answer_after_another(name: str, port: int) -> None:
    with ExitStack() as stack:
        try:
            ask = stack.enter_context(CANDIDATES[name](port))
        except ImportError as error:
            pytest.skip(str(error))

        cost = measure(Load("event", Directive(20), 3, is_per_event=True), ask)

    assert cost.microseconds > 0
    # The answer's head and its end may each be handed out by themselves.
    assert 20 / 22 <= cost.events_a_piece <= 20


def test_missing_events_are_a_fault() -> None:
    with pytest.raises(ValueError, match="1 events came"):
        measure(Load("event", Directive(2), 1, is_per_event=True), lambda _: iter([b"00000~"]))


def test_the_table_has_a_row_a_client() -> None:
    burst, request, paced = LOADS
    costs = {
        ("curl", burst): [Cost(2.0, 1.0), Cost(3.0, 5.0), Cost(9.0, 1.0)],
        ("curl", request): [Cost(50.0, 1.0)],
        ("curl", paced): [Cost(7.0, 200.0)],
    }

    table = build_table(costs)

    assert table.splitlines()[-1] == (
        "| curl | 3.0 (2.0 to 9.0) | 50.0 (50.0 to 50.0) | 7.0 (7.0 to 7.0) | 1.0 / 200.0 |"
    )
