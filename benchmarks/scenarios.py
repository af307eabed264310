"""The loads. A new one is one entry here."""

from typing import Literal

import msgspec

from benchmarks.directive import Directive


class Scenario(msgspec.Struct, frozen=True, kw_only=True):
    """`clients` that each ask again as soon as they have their answer.

    `unit` is what the scenario's CPU time is divided by. With `checked` every byte
    of each answer is kept and parsed, which makes the load generator slow.
    """

    name: str
    clients: int
    pieces: int
    unit: Literal["piece", "request"]
    read_it_for: str
    whole: bool = False
    checked: bool = False
    least_gap_ms: int = 0
    most_gap_ms: int = 0
    prompt_bytes: int = 0

    @property
    def directive(self) -> Directive:
        """What the mock is told."""
        return Directive(self.pieces, self.least_gap_ms, self.most_gap_ms)


_ALL = (
    Scenario(
        name="burst",
        clients=8,
        pieces=200,
        unit="piece",
        read_it_for="CPU per streamed piece at full load",
    ),
    Scenario(
        name="short",
        clients=8,
        pieces=1,
        unit="request",
        read_it_for="CPU per streamed request",
    ),
    Scenario(
        name="block",
        clients=16,
        pieces=1,
        unit="request",
        whole=True,
        read_it_for="CPU per request that is answered whole",
    ),
    Scenario(
        name="check",
        clients=32,
        pieces=40,
        unit="piece",
        checked=True,
        most_gap_ms=5,
        read_it_for="errors and short answers, which must be 0; not its times",
    ),
)
SCENARIOS = {scenario.name: scenario for scenario in _ALL}
