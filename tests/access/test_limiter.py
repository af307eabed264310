"""What a key may in a minute and at once, and what a store that is down means."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from opendify.access.limiter import Limiter
from opendify.access.places import KeyPlaces
from opendify.audit.log import AuditLog
from opendify.errors import AccessUnknown, UsageLimited
from opendify.records import Caller, CallerLimits
from opendify.settings.access import OnStoreFailure
from opendify.stores.base import StoreUnavailable
from tests.fakes.clocks import FakeClock
from tests.fakes.memory_keys import MemoryWindows
from tests.fakes.metrics_page import Counted

NOW = 1_700_000_000.0


class Stand:
    def __init__(self, folder: Path, on_failure: OnStoreFailure = "open") -> None:
        self.windows, self.clock, self.now = MemoryWindows(), FakeClock(), FakeClock(NOW)
        self.audit_file = folder / "audit.log"
        self.limiter = Limiter(
            self.windows,
            KeyPlaces(folder / "key-places"),
            AuditLog(self.audit_file, now=self.now),
            on_failure=on_failure,
            clock=self.clock,
            now=self.now,
        )

    @property
    def noted(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in self.audit_file.read_text().splitlines()]


def caller(id: str = "team", **limits: int) -> Caller:  # noqa: A002 - The field's name.
    return Caller(id, limits=CallerLimits(**limits))


def test_a_caller_without_limits_costs_nothing(tmp_path: Path) -> None:
    stand = Stand(tmp_path)
    stand.windows.is_down = True

    assert stand.limiter.enter(caller()) is None
    assert stand.limiter.take_place(caller()) is None
    assert stand.limiter.failures == 0


def test_requests_are_counted_and_told(tmp_path: Path) -> None:
    stand = Stand(tmp_path)
    team = caller(requests_per_minute=2)

    first = stand.limiter.enter(team)
    stand.now.advance(10.5)
    second = stand.limiter.enter(team)

    assert first
    assert dict(first.headers()) == {
        "x-ratelimit-limit-requests": "2",
        "x-ratelimit-remaining-requests": "1",
        "x-ratelimit-reset-requests": "1m0s",
    }
    assert second
    assert second.headers()["x-ratelimit-reset-requests"] == "50s"
    with pytest.raises(UsageLimited) as refused:
        stand.limiter.enter(team)
    assert refused.value.headers() == {
        "Retry-After": "50",
        "x-ratelimit-limit-requests": "2",
        "x-ratelimit-remaining-requests": "0",
        "x-ratelimit-reset-requests": "50s",
    }
    assert stand.limiter.enter(caller("other", requests_per_minute=2))
    stand.now.advance(49.5)
    assert stand.limiter.enter(team)


def test_a_request_is_let_in_while_tokens_are_left(tmp_path: Path) -> None:
    stand = Stand(tmp_path)
    team = caller(tokens_per_minute=100)

    stand.limiter.enter(team)
    stand.limiter.spend(team, 99)
    standing = stand.limiter.enter(team)
    assert standing
    assert standing.headers()["x-ratelimit-remaining-tokens"] == "1"
    stand.limiter.spend(team, 500)

    with pytest.raises(UsageLimited, match="100 tokens in a minute"):
        stand.limiter.enter(team)
    stand.now.advance(60)
    assert stand.limiter.enter(team)


def test_a_limit_that_is_hit_is_one_line_in_each_minute(tmp_path: Path) -> None:
    stand, hits = Stand(tmp_path), Counted("opendify_limit_hits_total", limit="requests")
    team = caller(requests_per_minute=1)
    for _ in range(2):
        stand.limiter.enter(team)
        for _ in range(20):
            with pytest.raises(UsageLimited):
                stand.limiter.enter(team)
        stand.now.advance(60)

    assert hits.more == 40
    assert [(each["event"], each["caller"], each["limit"]) for each in stand.noted] == [
        ("limit reached", "team", "requests")
    ] * 2


@pytest.mark.parametrize("on_failure", ["open", "shut"])
def test_a_store_that_is_down_is_counted_and_left_alone(tmp_path: Path, on_failure: OnStoreFailure) -> None:
    stand, failures = Stand(tmp_path, on_failure), Counted("opendify_store_errors_total", store="limits")
    stand.windows.is_down = True
    team = caller(requests_per_minute=1)

    for _ in range(50):
        if on_failure == "open":
            assert stand.limiter.enter(team) is None
        else:
            with pytest.raises(AccessUnknown):
                stand.limiter.enter(team)
    assert (stand.limiter.failures, failures.more) == (1, 1)

    stand.windows.is_down = False
    stand.clock.advance(1)
    assert stand.limiter.enter(team)


def test_places_of_a_store_that_hangs_are_not_waited_for_by_each_request(tmp_path: Path) -> None:
    class Hanging:
        waited = 0

        def take(self, caller: str, most: int) -> None:
            self.waited += 1
            raise StoreUnavailable("it did not answer in time")

    stand, hanging = Stand(tmp_path), Hanging()
    limiter = Limiter(
        stand.windows,
        hanging,
        AuditLog(stand.audit_file),
        on_failure="open",
        clock=stand.clock,
        now=stand.now,
    )

    for _ in range(50):
        assert limiter.take_place(caller(concurrency=1)) is None
    stand.clock.advance(1)
    limiter.take_place(caller(concurrency=1))

    assert hanging.waited == 2


def test_requests_at_once_have_so_many_places(tmp_path: Path) -> None:
    stand = Stand(tmp_path)
    team = caller(concurrency=2)

    places: list[Callable[[], None] | None] = [stand.limiter.take_place(team) for _ in range(2)]
    with pytest.raises(UsageLimited, match="2 requests at once"):
        stand.limiter.take_place(team)
    assert stand.limiter.take_place(caller("other", concurrency=1))
    assert places[0]
    places[0]()
    places[0]()

    assert stand.limiter.take_place(team)
    with pytest.raises(UsageLimited):
        stand.limiter.take_place(team)


def test_windows_that_have_ended_are_forgotten_now_and_then(tmp_path: Path) -> None:
    stand = Stand(tmp_path)
    stand.limiter.enter(caller("early", requests_per_minute=1))
    stand.now.advance(700)
    stand.clock.advance(700)
    stand.limiter.enter(caller("late", requests_per_minute=1))

    assert set(stand.windows.windows) == {"caller:late"}
