"""A stock machine holds 300 slow streams with default settings; the command beside this runs it longer."""

from tests.resilience.many_streams import flow
from tests.resilience.simulated import production_stand
from tests.resilience.test_saturation import assert_fast


def test_three_hundred_slow_streams_at_once_are_whole_unmixed_and_no_hindrance() -> None:
    with production_stand() as stand:
        report = flow(stand, streams=300, seconds=8)

    assert report.faults == {}
    assert report.whole == 300
    assert report.most_at_once > 200, "they were to be there at once"
    assert_fast(report.probes)
