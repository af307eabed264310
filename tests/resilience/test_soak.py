"""A short form of the soak: what grows with every request shows within a minute."""

from tests.resilience.simulated import production_stand
from tests.resilience.soak import soak


def test_memory_descriptors_and_threads_stay_as_they_are_under_a_mixed_load() -> None:
    # Two workers have warmed up sooner than five.
    with production_stand(GUNICORN_WORKERS="2") as stand:
        result = soak(stand, seconds=45, warm_up_seconds=15)

    assert result.faults() == [], result.table()
    assert result.requests > 100
