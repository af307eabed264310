"""What the official `openai` package gets from `/v1/responses`."""

import openai
import pytest
from openai.types.responses import Response

from tests.sdk.stand import API_KEY, CITING, UNREACHABLE, Stand

ANSWER = "ECHO prior=0 images=0 :: Hello there"
MODES = ["demo-chat", "demo-agent-chat", "demo-agent", "demo-chatflow", "demo-completion", "demo-workflow"]


@pytest.mark.parametrize("model", MODES)
def test_a_whole_response(client: openai.OpenAI, model: str) -> None:
    response = client.responses.create(model=model, input="Hello there", instructions="Be brief")

    assert "Hello there" in response.output_text
    assert (response.status, response.model, response.error) == ("completed", model, None)
    assert response.id.startswith("resp_")
    assert response.instructions == "Be brief"
    assert response._request_id


@pytest.mark.parametrize("model", [*MODES, CITING])
def test_a_streamed_response_is_what_its_events_say(client: openai.OpenAI, model: str) -> None:
    with client.responses.stream(model=model, input="Hello there") as stream:
        deltas = [event.delta for event in stream if event.type == "response.output_text.delta"]
        response = stream.get_final_response()

    assert "".join(deltas) == response.output_text
    assert "Hello there" in response.output_text
    assert response.status == "completed"
    assert response.usage is None or response.usage.total_tokens > 0


def test_the_created_stream_names_its_end(client: openai.OpenAI) -> None:
    with client.responses.create(model="demo-chat", input="Hello there", stream=True) as stream:
        events = list(stream)

    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert (events[0].type, events[-1].type) == ("response.created", "response.completed")


def test_parse_without_a_form_gives_the_text(client: openai.OpenAI) -> None:
    assert client.responses.parse(model="demo-chat", input="Hello there").output_text == ANSWER


def said(
    client: openai.OpenAI, text: str, previous: Response | None = None, instructions: str | None = None
) -> Response:
    previous_id = previous.id if previous else None
    return client.responses.create(
        model="demo-chat", input=text, previous_response_id=previous_id, instructions=instructions
    )


def test_a_response_goes_on_from_the_one_before(client: openai.OpenAI, stand: Stand) -> None:
    first = said(client, "one", instructions="Be brief")
    second = said(client, "two", first, instructions="Be long")
    third = said(client, "three", second)

    assert third.output_text == "ECHO prior=4 images=0 :: three"
    assert third.previous_response_id == second.id
    assert len({run["conversation_id"] for run in stand.dify.runs()[1:]}) == 1


def test_going_on_twice_from_one_response_branches(client: openai.OpenAI, stand: Stand) -> None:
    first = said(client, "one")
    said(client, "two", first)
    other = said(client, "another two", first)
    after = said(client, "three", other)

    branch = stand.dify.runs()[2]
    assert not branch.get("conversation_id")
    assert "one" in branch["query"]
    assert first.output_text in branch["query"]
    assert after.output_text == "ECHO prior=2 images=0 :: three", "the branch itself is continued"


def test_a_transcript_as_input_continues_as_in_chats(client: openai.OpenAI, stand: Stand) -> None:
    first = said(client, "one")
    client.responses.create(
        model="demo-chat",
        input=[
            {"role": "user", "content": "one"},
            {"role": "assistant", "content": first.output_text},
            {"role": "user", "content": [{"type": "input_text", "text": "two"}]},
        ],
    )

    first_run, second_run = stand.dify.runs()
    assert (first_run["query"], second_run["query"]) == ("one", "two")
    assert second_run["conversation_id"]


def test_a_conversation_is_named_by_the_client(client: openai.OpenAI) -> None:
    first = client.responses.create(model="demo-chat", input="one", conversation="my chat")
    second = client.responses.create(model="demo-chat", input="two", conversation={"id": "my chat"})

    assert (first.conversation and first.conversation.id) == "my chat"
    assert second.output_text == "ECHO prior=2 images=0 :: two"


def test_a_response_is_kept_until_it_is_deleted(client: openai.OpenAI) -> None:
    first = said(client, "one")
    second = said(client, "two", first)

    kept = client.responses.retrieve(second.id)
    items = client.responses.input_items.list(second.id, limit=2, order="asc")
    texts = [part["text"] for item in items for part in item.to_dict()["content"]]  # type: ignore[attr-defined]  # JSON.
    assert (kept.id, kept.output_text) == (second.id, second.output_text)
    assert texts == ["one", first.output_text, "two"]

    client.responses.delete(second.id)
    with pytest.raises(openai.NotFoundError) as caught:
        client.responses.retrieve(second.id)
    assert caught.value.code == "response_not_found"


def test_what_is_not_stored_cannot_be_gone_on_from(client: openai.OpenAI, stand: Stand) -> None:
    response = client.responses.create(model="demo-chat", input="one", store=False)

    assert response.to_dict()["store"] is False
    with pytest.raises(openai.BadRequestError) as caught:
        said(client, "two", response)
    assert (caught.value.code, caught.value.param) == ("previous_response_not_found", "previous_response_id")
    assert stand.dify.count("requests") == 1


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_an_early_failure_is_a_status(stand: Stand, stream: bool) -> None:
    with (
        openai.OpenAI(base_url=stand.base_url, api_key=API_KEY, max_retries=0) as client,
        pytest.raises(openai.InternalServerError) as caught,
    ):
        client.responses.create(model=UNREACHABLE, input="Hi", stream=stream)

    assert caught.value.status_code == 503
    # Its server is left alone for a while where other tests have tried it before.
    assert caught.value.code in {"upstream_unreachable", "upstream_circuit_open"}


def test_a_late_failure_is_an_error_and_a_failed_response(client: openai.OpenAI) -> None:
    with client.responses.create(model="demo-chat", input="DROP:4 please", stream=True) as stream:
        events = list(stream)

    error, failed = events[-2:]
    assert error.type == "error"
    assert failed.type == "response.failed"
    assert (error.code, failed.response.status) == ("upstream_error", "failed")
    assert failed.response.error
    assert failed.response.error.code == "server_error"
    assert client.responses.retrieve(failed.response.id).status == "failed"


def test_a_retry_gets_the_same_response(client: openai.OpenAI, stand: Stand) -> None:
    headers = {"Idempotency-Key": "responses-1"}
    first, again = (
        client.responses.create(model="demo-chat", input="one", extra_headers=headers) for _ in range(2)
    )

    assert (again.id, again.output_text) == (first.id, first.output_text)
    assert stand.dify.count("requests") == 1
    assert client.responses.retrieve(first.id).output_text == first.output_text


def test_tokens_are_estimated(client: openai.OpenAI, stand: Stand) -> None:
    counted = client.responses.input_tokens.count(model="demo-chat", input="Hello there, 你好")

    assert counted.input_tokens == 6
    assert stand.dify.count("requests") == 0
