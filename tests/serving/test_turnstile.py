"""Few requests begin at once; whoever waits for somebody lets the next one begin."""

from dataclasses import dataclass, field

import pytest

from opendify.serving.turnstile import Turnstile


@dataclass
class Gate:
    """A turnstile for two, with what it was asked to do."""

    now: float = 0.0
    woken: int = 0
    turnstile: Turnstile[str] = field(init=False)

    def __post_init__(self) -> None:
        self.turnstile = Turnstile(2, self._wake, clock=lambda: self.now)

    def _wake(self) -> None:
        self.woken += 1

    def begun(self) -> list[str]:
        return list(iter(self.turnstile.next, None))


@pytest.fixture
def gate() -> Gate:
    return Gate()


def test_as_many_begin_as_may_and_the_others_in_the_order_of_their_coming(gate: Gate) -> None:
    for name in "abcd":
        gate.turnstile.join(name)
    assert gate.begun() == ["a", "b"]
    assert len(gate.turnstile) == 2

    gate.turnstile.end("b")
    assert gate.begun() == ["c"]
    gate.turnstile.end("a")
    gate.turnstile.end("c")
    assert gate.begun() == ["d"]


def test_who_may_begin_is_told_only_where_somebody_waits(gate: Gate) -> None:
    gate.turnstile.join("a")
    assert gate.begun() == ["a"]
    gate.turnstile.end("a")
    assert gate.woken == 0

    for name in "bcd":
        gate.turnstile.join(name)
    gate.begun()
    gate.turnstile.end("b")
    gate.turnstile.end("b")
    assert gate.woken == 1


def test_who_takes_long_to_begin_holds_nobody_up(gate: Gate) -> None:
    for name in "abcd":
        gate.turnstile.join(name)
    gate.begun()

    gate.now = 0.09
    assert gate.begun() == []
    gate.now = 0.1
    assert gate.begun() == ["c", "d"]


def test_nobody_waits_for_ever(gate: Gate) -> None:
    waiting = Turnstile[str](0, lambda: None, clock=lambda: gate.now)
    waiting.join("a")
    gate.now = 2.9
    assert waiting.next() is None
    gate.now = 3.0
    assert waiting.next() == "a"
