"""The bulkhead: which requests take a slot, for how long, and what the others are told."""

import threading
from contextlib import suppress

import httpx
import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from opendify.errors import ClientLeft, RateLimited
from opendify.records import NOBODY, Client
from opendify.serving.slots import SLOTS, Slots
from tests.conftest import Serve
from tests.fakes.mock_dify import MockDify, refusal
from tests.fakes.openai_errors import assert_openai_error
from tests.fakes.waiting import wait_until
from tests.resilience.server import CHAT_PATH, chat_shape

GONE = Client(lambda: True)


def full_slots(capacity: int) -> Slots:
    """Slots that are all taken, for which one may wait long."""
    slots = Slots(queue_length=16, queue_seconds=20)
    slots.limit(capacity)
    with suppress(ClientLeft, RateLimited):
        while True:
            slots.enter(GONE)  # Takes a free slot, and waits for none.
    return slots


@pytest.mark.parametrize(
    ("capacity", "chats"),
    [(1, 1), (2, 1), (3, 2), (4, 2), (5, 3), (8, 6), (16, 14), (64, 60), (128, 120), (144, 135), (256, 240)],
)
def test_a_reserve_of_the_capacity_is_kept_free(capacity: int, chats: int) -> None:
    assert full_slots(capacity).taken == chats


@pytest.mark.parametrize(("capacity", "waiting"), [(2, 0), (3, 0), (4, 1), (16, 1), (128, 4), (1024, 16)])
def test_those_who_wait_leave_half_of_the_reserve_free(capacity: int, waiting: int) -> None:
    slots = full_slots(capacity)
    threads = [threading.Thread(target=slots.enter, args=(NOBODY,)) for _ in range(waiting)]
    for thread in threads:
        thread.start()
    assert wait_until(lambda: slots.waiting == waiting)

    with pytest.raises(RateLimited):
        slots.enter(NOBODY)

    for _ in range(slots.taken):
        slots.leave()
    for thread in threads:
        thread.join()


def test_who_waits_gets_the_slot_that_becomes_free() -> None:
    slots = full_slots(4)
    thread = threading.Thread(target=slots.enter, args=(NOBODY,))
    thread.start()
    assert wait_until(lambda: slots.waiting == 1)

    slots.leave()

    thread.join()
    assert (slots.taken, slots.waiting) == (2, 0)


def test_who_leaves_while_waiting_gets_none() -> None:
    slots = full_slots(4)

    with pytest.raises(ClientLeft):
        slots.enter(GONE)

    assert (slots.taken, slots.waiting) == (2, 0)


@pytest.fixture
def client(serve: Serve) -> FlaskClient:
    """A client of an app with one slot and no queue."""
    client = serve(None, QUEUE_SECONDS="0")
    slots_of(client).limit(2)
    return client


def slots_of(client: FlaskClient) -> Slots:
    slots: Slots = client.application.extensions[SLOTS]
    return slots


def chat(client: FlaskClient, **fields: object) -> TestResponse:
    return client.post(CHAT_PATH, json=chat_shape(**fields))  # type: ignore[arg-type] # Literals.


def test_beyond_the_slots_the_answer_is_429_and_another_process_may_be_tried(client: FlaskClient) -> None:
    streamed = chat(client)
    assert streamed.status_code == 200

    refused = chat(client, streams=False)

    assert_openai_error(refused, 429, "rate_limit_exceeded")
    assert refused.headers["Retry-After"]
    assert refused.headers["Connection"] == "close"
    streamed.close()
    assert chat(client, streams=False).status_code == 200


@pytest.mark.parametrize("path", ["/v1/models", "/v1/models/bot", "/health/live", "/health/ready", "/"])
def test_lists_and_probes_need_no_slot(client: FlaskClient, path: str) -> None:
    streamed = chat(client)

    assert client.get(path).status_code == 200

    streamed.close()


@pytest.mark.parametrize("streams", [True, False])
def test_an_answer_holds_its_slot_until_its_last_byte_left(client: FlaskClient, streams: bool) -> None:
    answer = chat(client, streams=streams)
    assert slots_of(client).taken == 1

    assert answer.data
    answer.close()

    assert slots_of(client).taken == 0


@pytest.mark.parametrize("streams", [True, False])
def test_a_request_that_fails_keeps_no_slot(dify: MockDify, client: FlaskClient, streams: bool) -> None:
    def broken(request: httpx.Request) -> httpx.Response:
        raise KeyError("a bug of ours")

    failures = [refusal(500, "internal_server_error"), refusal(401, "unauthorized"), broken]
    for failure in failures:
        dify.answers["run"] = failure if callable(failure) else lambda _, failure=failure: failure  # type: ignore[misc]
        answer = chat(client, streams=streams)
        assert answer.status_code >= 500
        answer.close()
    unknown = client.post(CHAT_PATH, json={**chat_shape(streams=streams), "model": "nobody"})
    assert unknown.status_code == 404
    unknown.close()

    assert slots_of(client).taken == 0


def test_completions_take_a_slot_too(client: FlaskClient) -> None:
    streamed = chat(client)

    refused = client.post("/v1/completions", json={"model": "bot", "prompt": "Hi"})

    assert_openai_error(refused, 429, "rate_limit_exceeded")
    streamed.close()


def test_what_is_wrong_with_a_request_is_said_without_a_slot(client: FlaskClient) -> None:
    streamed = chat(client)

    assert client.post(CHAT_PATH, data=b"{").status_code == 400

    streamed.close()
