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
        by_sdk: Asked as OpenAI's SDK asks, whose requests come again where an answer fails.
        leaves_after: The client breaks off after this many pieces; 0 is never.
        pause_ms: The client stops reading for so long after each read, and its socket holds little.
        is_cut: Streams outlast the run, and end with it.
        least_seconds: A shorter run would say nothing.
        start_seconds: Over which the clients begin; those that begin together stay together, as real
            people do not.
        starts_fresh: The target is started anew, so that memory is all this scenario's.
        once: What it is read for is no time, so that the first round says all.
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
    by_sdk: bool = False
    leaves_after: int = 0
    pause_ms: int = 0
    is_cut: bool = False
    least_seconds: float = 0.0
    start_seconds: float = 0.0
    starts_fresh: bool = False
    once: bool = False

    @property
    def pieces_a_second(self) -> float:
        """Of each stream; 0 where they come as fast as they can."""
        return 2_000 / (self.least_gap_ms + self.most_gap_ms) if self.most_gap_ms else 0.0

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
        least_seconds=3.0,
        once=True,
        read_it_for="errors and short answers, which must be 0; not its times",
    ),
    Scenario(
        name="sdk",
        clients=8,
        pieces=1,
        unit="request",
        by_sdk=True,
        read_it_for="CPU per streamed request of OpenAI's SDK, which may send it again",
    ),
    Scenario(
        name="paced",
        clients=50,
        pieces=75,
        unit="piece",
        stamped=True,
        least_gap_ms=20,
        most_gap_ms=20,
        start_seconds=1.5,
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
    Scenario(
        name="idle",
        clients=300,
        pieces=1_000,
        unit="piece",
        least_gap_ms=500,
        most_gap_ms=500,
        is_cut=True,
        least_seconds=6.0,
        start_seconds=3.0,
        starts_fresh=True,
        once=True,
        read_it_for="memory that each stream takes",
    ),
    Scenario(
        name="leave",
        clients=32,
        pieces=1_000,
        unit="request",
        least_gap_ms=10,
        most_gap_ms=20,
        leaves_after=5,
        once=True,
        read_it_for="what becomes of a run whose client leaves: none may run on",
    ),
    Scenario(
        name="slow",
        clients=16,
        pieces=100_000,
        unit="piece",
        pause_ms=100,
        is_cut=True,
        least_seconds=5.0,
        starts_fresh=True,
        once=True,
        read_it_for="memory, which must not grow with what slow clients leave unread",
    ),
)
SCENARIOS = {scenario.name: scenario for scenario in _ALL}


def many_streams(clients: int) -> Scenario:
    """So many streams of 50 pieces/s, to find out how many a target can hold."""
    return Scenario(
        name="max",
        clients=clients,
        pieces=1_000,
        unit="piece",
        stamped=True,
        least_gap_ms=20,
        most_gap_ms=20,
        is_cut=True,
        least_seconds=11.0,
        start_seconds=6.0,
        read_it_for="how many streams of 50 pieces/s a target holds with a lag p99 below 50 ms",
    )
