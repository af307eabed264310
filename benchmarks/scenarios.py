"""The loads. A new one is one entry here."""

from typing import Literal

import msgspec

from benchmarks.directive import Directive


class Scenario(msgspec.Struct, frozen=True, kw_only=True):
    """`clients` that each ask again as soon as they have their answer.

    Args:
        unit: What the scenario's CPU time is divided by.
        read_it_for: Which of its figures mean something.
        whole: Asked for without streaming.
        checked: Every byte of each answer is kept and parsed, which makes the load generator slow.
        stamped: Pieces tell when the mock wrote them, for the lag; they cannot be `checked` then.
        prompt_bytes: Ordinary text in front of each question.
        leaves_after: The client breaks off after this many pieces; 0 is never.
        pause_ms: The client stops reading for so long after each read.
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
    stamped: bool = False
    prompt_bytes: int = 0
    leaves_after: int = 0
    pause_ms: int = 0

    @property
    def directive(self) -> Directive:
        """What the mock is told."""
        return Directive(self.pieces, self.least_gap_ms, self.most_gap_ms, self.stamped)


USUAL = ("burst", "short", "block", "check")
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
    Scenario(
        name="paced",
        clients=50,
        pieces=75,
        unit="piece",
        stamped=True,
        least_gap_ms=20,
        most_gap_ms=20,
        read_it_for="added delay of every piece, when each is a wake-up of its own",
    ),
    Scenario(
        name="single",
        clients=1,
        pieces=20,
        unit="piece",
        stamped=True,
        least_gap_ms=5,
        most_gap_ms=5,
        read_it_for="added delay on an idle target",
    ),
    Scenario(
        name="bigprompt",
        clients=8,
        pieces=1,
        unit="request",
        prompt_bytes=65_536,
        read_it_for="what the size of a request costs",
    ),
)
SCENARIOS = {scenario.name: scenario for scenario in _ALL}
