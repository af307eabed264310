"""What is kept of an answer is the answer."""

import pytest

from opendify.errors import ClientLeft, DifyRunFailed, GatewayError, InvalidInput, RateLimited
from opendify.runs.outcomes import Outcome, read_outcome, write_outcome
from opendify.translate.turn import (
    CompletionUsage,
    Price,
    ReplyEnded,
    ReplyEvent,
    ReplyStarted,
    TextDelta,
    TextReplaced,
    ThoughtDelta,
)

STARTED = ReplyStarted("task-1", "message-1", "conversation-1")
ENDED = ReplyEnded(CompletionUsage(1, 2), Price("0.1", "USD"), {"list": [1, None, {"a": "b"}]})


@pytest.mark.parametrize(
    "events",
    [
        [STARTED, ThoughtDelta("hm"), TextDelta("Hello"), ENDED],
        [STARTED, TextDelta("secret"), TextReplaced("no"), ReplyEnded()],
        [ReplyStarted(None), ReplyEnded()],
        [STARTED, TextDelta("\u2028 \x00 \ud83d 客服 😀"), ENDED],
    ],
)
@pytest.mark.parametrize("memory_was_lost", [False, True])
def test_an_answer_comes_back_as_it_was(events: list[ReplyEvent], memory_was_lost: bool) -> None:
    outcome = Outcome(events, memory_was_lost)

    assert read_outcome(write_outcome(outcome)) == outcome


@pytest.mark.parametrize(
    "error",
    [
        DifyRunFailed("The model is on fire"),
        InvalidInput("'age' is missing", param="inputs.age"),
        RateLimited("Too many", retry_after_seconds=9).after_work(),
        ClientLeft("gone"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_failure_comes_back_as_its_client_saw_it(error: GatewayError) -> None:
    failure = read_outcome(write_outcome(Outcome(failure=error))).failure

    assert failure
    assert (failure.status, failure.to_body(), failure.headers()) == (
        error.status,
        error.to_body(),
        error.headers(),
    )


@pytest.mark.parametrize(
    "written",
    [b"", b"[]", b"{}", b"nonsense", b'{"events":[["Sung",{}]],"memory_was_lost":false}', b'{"failure":1}'],
)
def test_what_is_no_outcome_is_refused(written: bytes) -> None:
    with pytest.raises(ValueError, match="no outcome"):
        read_outcome(written)
