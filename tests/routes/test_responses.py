"""`/v1/responses` at its edges: what is refused, what is kept, and for whom."""

import base64
from typing import Any

import httpx
import pytest
from flask.testing import FlaskClient

from tests.conftest import Serve
from tests.fakes.files import PNG
from tests.fakes.frames import END, message
from tests.fakes.mock_dify import MockDify, refusal, stream
from tests.fakes.openai_errors import assert_openai_error

Shape = dict[str, Any]  # JSON as it comes.
KEYS = {"AUTH_MODE": "keys", "API_KEYS": "anna:sk-anna-0000000000,ben:sk-ben-00000000000"}
ANNA = {"Authorization": "Bearer sk-anna-0000000000"}
BEN = {"Authorization": "Bearer sk-ben-00000000000"}


FILM = {"type": "film"}


def ask(client: FlaskClient, headers: dict[str, str] | None = None, /, **body: object) -> Shape:
    answer = client.post("/v1/responses", json={"model": "bot", "input": "Hi", **body}, headers=headers)
    assert answer.status_code == 200, answer.text
    response: Shape = answer.get_json()
    return response


@pytest.mark.parametrize(
    ("body", "code", "param"),
    [
        ({"input": None}, "missing_required_parameter", "input"),
        ({"input": []}, "empty_array", "input"),
        ({"input": " "}, "invalid_value", "input[0].content"),
        ({"input": 7}, "invalid_type", "input"),
        ({"input": [{"role": "poet", "content": "Hi"}]}, "invalid_value", "input[0].role"),
        ({"input": [{"role": "user", "content": [FILM]}]}, "invalid_value", "input[0].content[0].type"),
        (
            {"input": [{"role": "user", "content": [{"type": "input_image"}]}]},
            "missing_required_parameter",
            "input[0].content[0]",
        ),
        ({"model": None}, None, None),
        ({"stream": "yes"}, "invalid_type", "stream"),
        ({"background": True}, "unsupported_value", "background"),
        ({"prompt": {"id": "pmpt_1"}}, "unsupported_value", "prompt"),
        ({"text": {"format": {"type": "json_schema", "name": "x"}}}, "unsupported_value", "text"),
        ({"tool_choice": "required"}, "unsupported_value", "tool_choice"),
        ({"tool_choice": {"type": "allowed_tools", "mode": "required"}}, "unsupported_value", "tool_choice"),
        ({"truncation": "maybe"}, "invalid_value", "truncation"),
        ({"temperature": 3}, "decimal_above_max_value", "temperature"),
        ({"previous_response_id": "resp_1"}, "previous_response_not_found", "previous_response_id"),
        (
            {"previous_response_id": "resp_1", "conversation": "c"},
            "mutually_exclusive_parameters",
            "previous_response_id",
        ),
    ],
    ids=str,
)  # fmt: skip
def test_what_cannot_be_served_is_refused_by_name(
    serve: Serve, dify: MockDify, body: Shape, code: str | None, param: str | None
) -> None:
    for streamed in (False, True):
        answer = serve().post(
            "/v1/responses", json={"model": "bot", "input": "Hi", "stream": streamed, **body}
        )

        assert_openai_error(answer, 400, code, param=param)
    assert dify.asked("run") == []


def test_what_clients_send_along_is_taken(serve: Serve, dify: MockDify) -> None:
    response = ask(
        serve(),
        instructions="You are Codex",
        input=[
            {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "Rules"}]},
            {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "x"},
            {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
            {"type": "web_search_call", "status": "completed"},
            {"type": None, "id": "rs_2"},
            {"role": "assistant", "content": [{"type": "output_text", "text": "Yes?"}]},
            {"type": "compaction", "encrypted_content": "x"},
            {"role": "user", "content": [{"type": "input_text", "text": "Hello"}]},
        ],
        tools=[{"type": "namespace", "name": "n"}, {"type": "web_search"}, {"type": "function", "name": "f"}],
        tool_choice="auto",
        parallel_tool_calls=True,
        reasoning={"effort": "high", "summary": "auto"},
        store=False,
        include=["reasoning.encrypted_content"],
        prompt_cache_key="k",
        client_metadata={"a": {"b": 1}},
        text={"verbosity": "low", "format": {"type": "text"}},
        service_tier=None,
        stream_options={"include_obfuscation": True},
    )

    assert response["status"] == "completed"
    assert response["reasoning"] == {"effort": "high", "summary": "auto"}
    (run,) = dify.bodies("run")
    assert run["query"].endswith("Hello")
    assert "You are Codex" in run["query"]
    assert "Rules" in run["query"]


def test_an_output_of_a_tool_is_handed_over(serve: Serve, dify: MockDify) -> None:
    ask(
        serve(),
        input=[
            {"role": "user", "content": "What is in it?"},
            {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c", "output": "Forty apples"},
        ],
    )

    (run,) = dify.bodies("run")
    assert run["query"].endswith("Forty apples")


def test_a_picture_reaches_the_app_and_is_kept_by_its_name_alone(serve: Serve, dify: MockDify) -> None:
    client = serve()
    secret, text = base64.b64encode(PNG).decode(), base64.b64encode(b"a secret").decode()
    parts = [
        {"type": "input_text", "text": "See"},
        {"type": "input_image", "detail": "low", "image_url": f"data:image/png;base64,{secret}"},
        {"type": "input_file", "filename": "a.txt", "file_data": f"data:text/plain;base64,{text}"},
        {"type": "input_image", "image_url": "https://x.example/a.png", "file_id": None},
    ]
    response = ask(client, input=[{"role": "user", "content": parts}])

    (run,) = dify.bodies("run")
    assert [file["type"] for file in run["files"]] == ["image", "document", "image"]
    page = client.get(f"/v1/responses/{response['id']}/input_items")
    assert secret not in page.text
    assert text not in page.text
    assert [part["type"] for part in page.get_json()["data"][0]["content"]] == [
        "input_text",
        "input_image",
        "input_file",
        "input_image",
    ]
    again = ask(client, input="And now?", previous_response_id=response["id"])
    assert again["status"] == "completed"


def test_another_caller_knows_nothing_of_it(serve: Serve, dify: MockDify) -> None:
    client = serve(**KEYS)
    path = f"/v1/responses/{ask(client, ANNA)['id']}"

    for answer in (
        client.get(path, headers=BEN),
        client.get(f"{path}/input_items", headers=BEN),
        client.delete(path, headers=BEN),
        client.post(f"{path}/cancel", headers=BEN),
    ):
        assert_openai_error(answer, 404, "response_not_found", param="id")
    body = {"model": "bot", "input": "Hi", "previous_response_id": path.rpartition("/")[2]}
    refused = client.post("/v1/responses", json=body, headers=BEN)
    assert_openai_error(refused, 400, "previous_response_not_found", param="previous_response_id")
    assert client.get(path, headers=ANNA).status_code == 200
    assert len(dify.asked("run")) == 1


def test_another_person_of_the_same_key_cannot_go_on_from_it(serve: Serve) -> None:
    client = serve()
    previous = ask(client, user="anna")["id"]

    body = {"model": "bot", "input": "Hi", "previous_response_id": previous, "user": "ben"}
    refused = client.post("/v1/responses", json=body)
    assert_openai_error(refused, 400, "previous_response_not_found", param="previous_response_id")


def test_who_names_nobody_goes_on_as_the_same_person(serve: Serve, dify: MockDify) -> None:
    client = serve()
    ask(client, previous_response_id=ask(client, user="anna")["id"])

    first, second = dify.bodies("run")
    assert first["user"] == second["user"]
    assert second["conversation_id"] == "conversation-1"


def test_another_model_is_told_what_was_said(serve: Serve, dify: MockDify) -> None:
    client = serve({"bot": "app-bot", "spare": "app-spare"})
    previous = ask(client, input="I am Anna")["id"]
    ask(client, model="spare", input="Who am I?", previous_response_id=previous)

    second = dify.bodies("run")[1]
    assert "conversation_id" not in second
    assert "I am Anna" in second["query"]


def test_a_conversation_that_dify_lost_is_told_anew(serve: Serve, dify: MockDify) -> None:
    client = serve()
    previous = ask(client, input="I am Anna")["id"]

    def answer(request: httpx.Request) -> httpx.Response:
        is_gone = b"conversation-1" in request.content
        return refusal(404, "not_found", "Conversation Not Exists.") if is_gone else stream()

    dify.answers["run"] = answer
    ask(client, input="Who am I?", previous_response_id=previous)

    assert "I am Anna" in dify.bodies("run")[-1]["query"]


def test_what_is_kept_is_what_was_answered(serve: Serve) -> None:
    client = serve()
    streamed = client.post("/v1/responses", json={"model": "bot", "input": "Hi", "stream": True})
    response = ask(client, metadata={"a": "b"})

    assert client.get(f"/v1/responses/{response['id']}").get_json() == response
    assert response["metadata"] == {"a": "b"}
    assert streamed.text.count("event: response.completed") == 1
    assert "[DONE]" not in streamed.text


def test_a_kept_response_can_neither_be_streamed_nor_cancelled(serve: Serve) -> None:
    client = serve()
    path = f"/v1/responses/{ask(client)['id']}"

    streamed = client.get(path, query_string={"stream": "true", "starting_after": "3"})
    assert_openai_error(streamed, 400, "unsupported_value", param="stream")
    assert_openai_error(client.post(f"{path}/cancel"), 400, None)


def test_nothing_is_kept_where_it_is_switched_off(serve: Serve) -> None:
    client = serve(RESPONSE_TTL_DAYS="0")
    response = ask(client)

    assert response["store"] is False
    assert_openai_error(client.get(f"/v1/responses/{response['id']}"), 404, "response_not_found", param="id")


def test_a_temporary_chat_s_is_not_kept(serve: Serve) -> None:
    client = serve()
    response = ask(client, {"X-OpenWebUI-Chat-Id": "temporary:1"}, store=True)

    assert response["store"] is False
    assert_openai_error(client.get(f"/v1/responses/{response['id']}"), 404, "response_not_found", param="id")


def test_rules_that_an_earlier_input_gave_are_no_words_of_the_user(serve: Serve, dify: MockDify) -> None:
    client = serve({"bot": "app-1", "other": "app-2"})
    rules = {"role": "developer", "content": "Rhyme"}
    first = ask(client, input=[rules, {"role": "user", "content": "Hi"}], instructions="Be brief")
    ask(client, model="other", input="And now?", previous_response_id=first["id"])

    query = dify.bodies("run")[1]["query"]
    assert "<instructions>\nRhyme\n</instructions>" in query
    assert "User: Hi" in query
    assert "User: Rhyme" not in query
    assert "Be brief" not in query


def test_input_items_come_in_pages(serve: Serve) -> None:
    client = serve()
    inputs = [{"role": "user", "content": str(number)} for number in range(5)]
    path = f"/v1/responses/{ask(client, input=inputs)['id']}/input_items"

    first = client.get(path, query_string={"limit": "2"}).get_json()
    rest = client.get(path, query_string={"after": first["last_id"]}).get_json()

    told = [item["content"][0]["text"] for item in [*first["data"], *rest["data"]]]
    assert told == ["4", "3", "2", "1", "0"]
    assert (first["has_more"], rest["has_more"]) == (True, False)
    assert_openai_error(
        client.get(path, query_string={"limit": "101"}), 400, "integer_above_max_value", param="limit"
    )


def test_a_stream_that_broke_is_kept_as_failed(serve: Serve, dify: MockDify) -> None:
    client = serve()
    dify.answers["run"] = lambda _: stream(message("Hel"))
    told = client.post("/v1/responses", json={"model": "bot", "input": "Hi", "stream": True}).text

    assert "event: error\n" in told
    assert "event: response.completed" not in told
    response_id = told.partition('"id":"')[2].partition('"')[0]
    kept = client.get(f"/v1/responses/{response_id}").get_json()
    assert (kept["status"], kept["output"][0]["status"]) == ("failed", "incomplete")


def test_dify_s_ids_are_in_the_headers(serve: Serve, dify: MockDify) -> None:
    dify.answers["run"] = lambda _: stream(message("Hi") + END)
    answer = serve().post("/v1/responses", json={"model": "bot", "input": "Hi"})

    assert answer.headers["X-Dify-Conversation-Id"] == "conversation-1"
    assert answer.headers["X-Dify-Message-Id"] == "message-1"


def referring(response: Shape, **more: str) -> list[Shape]:
    """A transcript as the AI SDK sends it."""
    reference = {"type": "item_reference", "id": response["output"][-1]["id"], **more}
    return [
        {"role": "user", "content": [{"type": "input_text", "text": "Hi"}]},
        {"type": "item_reference", "id": "rs_000000000000000000000000"},
        reference,
        {"role": "user", "content": "And now?"},
    ]


def test_a_reference_to_an_answer_is_that_answer(serve: Serve, dify: MockDify) -> None:
    client = serve()
    ask(client, input=referring(ask(client)))

    assert dify.bodies("run")[1]["query"] == "And now?"
    assert dify.bodies("run")[1]["conversation_id"] == "conversation-1"


@pytest.mark.parametrize("item_id", ["msg_000000000000000000000000", "msg_1", "x", "fs_1"])
def test_a_reference_to_what_is_not_kept_is_not_passed_over(
    serve: Serve, dify: MockDify, item_id: str
) -> None:
    client = serve()
    body = {"model": "bot", "input": referring(ask(client), id=item_id)}

    answer = client.post("/v1/responses", json=body)
    assert_openai_error(answer, 404, "item_not_found", param="input[2].id")
    assert len(dify.asked("run")) == 1


def test_a_reference_to_another_s_answer_is_not_found(serve: Serve) -> None:
    client = serve(**KEYS)
    body = {"model": "bot", "input": referring(ask(client, ANNA))}

    answer = client.post("/v1/responses", json=body, headers=BEN)
    assert_openai_error(answer, 404, "item_not_found", param="input[2].id")


def test_too_many_references_are_refused(serve: Serve) -> None:
    client = serve()
    items = [{"id": f"msg_{number:024x}"} for number in range(501)]

    answer = client.post("/v1/responses", json={"model": "bot", "input": items})
    assert_openai_error(answer, 400, "invalid_value", param="input")
