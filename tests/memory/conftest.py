"""The whole service, started once for each kind of store."""

from collections.abc import Iterator

import pytest

from tests.memory.servers import STORES, Stand, opened_stand


@pytest.fixture(scope="session", params=STORES)
def stand(request: pytest.FixtureRequest) -> Iterator[Stand]:
    """Shared by all tests: each has callers of its own."""
    with opened_stand(request.param) as stand:
        yield stand
