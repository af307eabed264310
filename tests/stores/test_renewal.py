"""What holds the claims of turns that go on."""

import pytest

from opendify.stores.renewal import ClaimRenewal
from tests.fakes.waiting import wait_until


class Claim:
    def __init__(self, *, is_broken: bool = False) -> None:
        self.times_kept = 0
        self._is_broken = is_broken

    def keep(self) -> None:
        self.times_kept += 1
        if self._is_broken:
            raise ValueError


def test_a_claim_that_cannot_be_kept_harms_no_other_and_is_tried_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    renewal = ClaimRenewal(interval_seconds=0.01)
    claims = broken, *good = Claim(is_broken=True), Claim(), Claim()
    for claim in claims:
        renewal.add(claim)

    assert wait_until(lambda: all(claim.times_kept > 2 for claim in claims), 10)

    renewal.remove(broken)
    later = Claim()
    renewal.add(later)
    assert wait_until(lambda: later.times_kept, 10)
    assert "ValueError" in caplog.text
    for claim in (*good, later):
        renewal.remove(claim)
