"""Clients that people use, pointed at OpenDify: `TRY_CLIENTS=1 ./run_tests.sh tests/clients`.

They are large and change often, so they are neither locked nor run in every check.
"""

import os
from collections.abc import Iterator

import pytest

from tests.sdk.stand import Stand, opened_stand


@pytest.fixture(scope="session")
def shared_stand() -> Iterator[Stand]:
    with opened_stand() as stand:
        yield stand


@pytest.fixture
def stand(shared_stand: Stand) -> Stand:
    """As new."""
    if "TRY_CLIENTS" not in os.environ:
        pytest.skip("TRY_CLIENTS is not set")
    shared_stand.forget()
    return shared_stand
