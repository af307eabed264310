from collections.abc import Iterator

import pytest

from tests.fakes.live_dify import live_dify
from tests.resilience.crowds import PatientDify


@pytest.fixture(scope="module")
def shared() -> Iterator[PatientDify]:
    with live_dify() as dify:
        yield PatientDify(dify)


@pytest.fixture
def patient(shared: PatientDify) -> PatientDify:
    shared.begin_anew()
    return shared
