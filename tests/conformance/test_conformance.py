"""OpenDify, in each of Dify's app modes, is what OpenAI's schemas and clients expect."""

from collections.abc import Iterator

import pytest

from opendify.simulator import DEMO_MODELS
from tests.conformance.check import run_checks
from tests.conformance.event_stream import read_event_stream
from tests.conformance.judge import Target, schema_faults
from tests.sdk.stand import API_KEY, Stand, opened_stand


@pytest.fixture(scope="module")
def stand() -> Iterator[Stand]:
    with opened_stand() as opened:
        yield opened


@pytest.mark.parametrize("model", DEMO_MODELS)
def test_no_check_fails_or_warns(stand: Stand, model: str) -> None:
    target = Target(stand.base_url, model, API_KEY, bad_key="sk-no-key-of-this-service")

    findings = run_checks(target, legacy=True, files=True, responses=True)

    assert [str(finding) for finding in findings if finding.level != "PASS"] == []
    assert len(findings) > 300


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        (b"data: {}\r\n\r\n", "CR line ends"),
        (b"\xef\xbb\xbfdata: {}\n\n", "byte order mark"),
        (b"data: {}\n", "blank line"),
        (b": keep-alive\ndata: {}\n\n", "a comment shares a block"),
    ],
)
def test_framing_that_some_client_cannot_read_is_noticed(body: bytes, fault: str) -> None:
    assert fault in "".join(read_event_stream(body).faults)


def test_a_stream_as_it_should_be_has_no_faults() -> None:
    stream = read_event_stream(b': keep-alive\n\ndata: {"a": 1}\n\ndata: [DONE]\n\n')

    assert [event.data for event in stream.events] == ['{"a": 1}', "[DONE]"]
    assert stream.faults == ()


def test_a_body_that_breaks_a_schema_is_noticed() -> None:
    error = {"message": "m", "type": "t", "param": None, "code": None}

    assert schema_faults("ErrorResponse", {"error": error}) == []
    assert schema_faults("ErrorResponse", {"error": error | {"message": None}})
    assert schema_faults("ErrorResponse", {"error": {"message": "m"}})
    assert schema_faults("Model", {"id": "m", "object": "model", "created": "today", "owned_by": "o"})
