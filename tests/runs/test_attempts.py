"""Which requests are repeats of one another, told by their headers."""

import pytest

from opendify.conversations.identity import ClientContext
from opendify.records import Caller
from opendify.runs.attempts import Attempt, Question, read_attempt

TEAM = Caller("team")
ANNA = ClientContext(user="anna", chat_id="chat-1")


def attempt(
    headers: dict[str, str],
    *,
    caller: Caller = TEAM,
    path: str = "/v1/chat/completions",
    deployment: str = "",
    context: ClientContext = ANNA,
    body: bytes = b'{"model":"bot"}',
) -> Attempt | None:
    return read_attempt(headers, caller, Question(path, deployment, context, body))


def known(headers: dict[str, str], **fields: object) -> Attempt:
    found = attempt(headers, **fields)  # type: ignore[arg-type] # By name.
    assert found
    return found


FIRST = {"x-stainless-retry-count": "0"}
RETRY = {"x-stainless-retry-count": "1"}
KEYED = {"Idempotency-Key": "order-7"}


@pytest.mark.parametrize(
    "headers",
    [{}, {"Idempotency-Key": " "}, {"x-stainless-retry-count": "many"}, {"x-stainless-retry-count": "٣"}],
)
def test_a_client_that_would_not_repeat_costs_nothing(headers: dict[str, str]) -> None:
    assert attempt(headers) is None


@pytest.mark.parametrize(("count", "is_first"), [("0", True), ("00", True), ("1", False), ("12", False)])
def test_an_sdk_counts_its_own_retries(count: str, is_first: bool) -> None:
    found = known({"x-stainless-retry-count": count})

    assert found.is_first is is_first
    assert not found.has_idempotency_key
    assert found.key == known(FIRST).key


OTHERS: list[dict[str, object]] = [
    {"caller": Caller("other")},
    {"path": "/v1/completions"},
    {"deployment": "bot"},
    {"context": ClientContext(user="ben", chat_id="chat-1")},
    {"context": ClientContext(user="anna", chat_id="chat-2")},
    {"body": b'{"model":"bot" }'},
]


@pytest.mark.parametrize("other", OTHERS, ids=lambda other: next(iter(other)))
def test_a_retry_of_an_sdk_is_the_same_in_everything(other: dict[str, object]) -> None:
    assert known(RETRY).key == known(FIRST).key
    assert known(RETRY, **other).key != known(FIRST).key


@pytest.mark.parametrize("other", OTHERS[1:], ids=lambda other: next(iter(other)))
def test_an_idempotency_key_stands_for_one_request(other: dict[str, object]) -> None:
    assert known(KEYED, **other).key == known(KEYED).key
    assert known(KEYED, **other).fingerprint != known(KEYED).fingerprint


def test_an_idempotency_key_belongs_to_its_caller() -> None:
    assert known(KEYED, caller=Caller("other")).key != known(KEYED).key


def test_an_idempotency_key_counts_more_than_an_sdk_s_number() -> None:
    assert known({**KEYED, **FIRST}) == known({**KEYED, **RETRY}) == known(KEYED)
    assert known(KEYED).has_idempotency_key
    assert not known(KEYED).is_first


def test_parts_never_run_into_one_another() -> None:
    assert known(FIRST, path="/a", deployment="b").key != known(FIRST, path="/", deployment="ab").key


def test_a_key_of_any_signs_is_taken() -> None:
    assert known({"Idempotency-Key": "\udcff ü"}).key != known(KEYED).key
