"""Fixtures of the SDK's tests."""

from collections.abc import Iterator

import openai
import pytest

from tests.sdk.stand import API_KEY, Stand, opened_stand


@pytest.fixture(scope="session")
def shared_stand() -> Iterator[Stand]:
    with opened_stand() as stand:
        yield stand


@pytest.fixture
def stand(shared_stand: Stand) -> Stand:
    """The one stand, with nothing counted yet."""
    shared_stand.forget()
    return shared_stand


@pytest.fixture
def client(stand: Stand) -> Iterator[openai.OpenAI]:
    """The SDK as a user makes it: a base URL and a key."""
    with openai.OpenAI(base_url=stand.base_url, api_key=API_KEY) as made:
        yield made
