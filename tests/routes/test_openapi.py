"""`/openapi.json` says of every route what it is sent and what it answers, and says the truth."""

import json
import re
from collections.abc import Iterator, Mapping
from io import BytesIO
from typing import Any

import flask
import pytest
from flask.testing import FlaskClient
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator
from pydantic import BaseModel, ValidationError
from werkzeug.test import TestResponse

from opendify.app import create_app
from opendify.errors import InvalidRequest
from opendify.routes.operations import OPERATIONS
from opendify.settings import load_settings
from opendify.simulator import DEMO_MODELS, SimulatorOptions, create_simulator
from opendify.wire import answers
from opendify.wire.openai_chat import ChatCompletionRequest
from opendify.wire.openai_errors import parse_request
from tests.fakes.mock_dify import MP3
from tests.fakes.served_app import served

ADMIN = {"Authorization": "Bearer sk-admin-5555555555"}
HELLO = {"model": "demo-chat", "messages": [{"role": "user", "content": "Hello"}], "user": "u-1"}


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[flask.Flask]:
    """The service in front of a simulated Dify."""
    with served(create_simulator(SimulatorOptions(token_delay_seconds=0, naming_delay_seconds=0))) as dify:
        environ = {
            "DIFY_API_BASE": f"{dify}/v1",
            "MODEL_CONFIG": json.dumps(dict(DEMO_MODELS)),
            "AUTH_MODE": "open",
            "ADMIN_API_KEY": ADMIN["Authorization"].removeprefix("Bearer "),
            "DATA_DIR": str(tmp_path_factory.mktemp("data")),
            "DIFY_MESSAGE_TIME_RESOLUTION": "0",
        }
        app = create_app(load_settings(environ))
        yield app
        app.extensions["opendify"].close()


@pytest.fixture(scope="module")
def client(app: flask.Flask) -> FlaskClient:
    return app.test_client()


@pytest.fixture(scope="module")
def document(client: FlaskClient) -> Mapping[str, Any]:
    answer = client.get("/openapi.json")
    assert (answer.status_code, answer.content_type) == (200, "application/json")
    document: Mapping[str, Any] = answer.get_json()
    return document


def test_the_document_is_valid(document: Mapping[str, Any]) -> None:
    assert document["openapi"].startswith("3.1")
    assert list(OpenAPIV31SpecValidator(document).iter_errors()) == []


def test_every_route_of_the_app_stands_in_it_and_nothing_else(
    app: flask.Flask, document: Mapping[str, Any]
) -> None:
    routes = {
        (re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule), method.lower())
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }

    assert {(path, method) for path, methods in document["paths"].items() for method in methods} == routes
    assert {f"{method.upper()} {path}" for path, method in routes} == set(OPERATIONS)


def test_every_operation_has_a_name_of_its_own(document: Mapping[str, Any]) -> None:
    names = [each["operationId"] for methods in document["paths"].values() for each in methods.values()]

    assert len(names) == len(set(names))


def test_it_is_made_once(app: flask.Flask, client: FlaskClient) -> None:
    assert client.get("/openapi.json").data == app.test_client().get("/openapi.json").data


def test_what_needs_a_key_says_so(document: Mapping[str, Any]) -> None:
    open_to_all = {
        path
        for path, methods in document["paths"].items()
        for each in methods.values()
        if each["security"] == []
    }

    assert open_to_all == {"/", "/health", "/health/live", "/health/ready", "/openapi.json"}
    assert {} in document["paths"]["/v1/models"]["get"]["security"]


CHATS = [
    {"messages": [{"role": "user", "content": "Hi"}]},
    {"messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}]},
    {
        "messages": [
            {"role": "user", "content": [{"type": "image_url", "image_url": "https://a.example/b.png"}]}
        ]
    },
    {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:,"}}]}]},
    {"messages": [{"role": "user", "content": [{"type": "film", "film": "x"}]}]},
    {"messages": [{"role": "poet", "content": "Hi"}]},
    {"messages": []},
    {"messages": "Hi"},
    {"stop": "END"},
    {"stop": ["A", "B"]},
    {"stop": list("ABCDE")},
    {"stop": 1},
    {"user": "anna"},
    {"user": {"id": "anna"}},
    {"user": 7},
    {"n": 2},
    {"n": 0},
    {"temperature": 3},
    {"stream": "yes"},
    {"tools": [{"type": "function"}], "never_heard_of": 1},
    {"inputs": {"language": "German"}},
    {"inputs": ["German"]},
]


@pytest.mark.parametrize("body", CHATS, ids=json.dumps)
def test_a_chat_is_taken_just_where_the_document_allows_it(
    document: Mapping[str, Any], body: Mapping[str, object]
) -> None:
    schema = {"$ref": "#/components/schemas/ChatCompletionRequest", "components": document["components"]}
    try:
        parse_request(ChatCompletionRequest, json.dumps(body).encode())
        is_taken = True
    except InvalidRequest:
        is_taken = False

    assert Draft202012Validator(schema).is_valid(body) == is_taken


def test_a_parameter_says_how_it_is_treated(document: Mapping[str, Any]) -> None:
    properties = document["components"]["schemas"]["ChatCompletionRequest"]["properties"]

    assert properties["tools"]["description"].startswith("Ignored: ")
    assert properties["n"]["description"] == "Refused in part: only 1."


def held(answer: TestResponse, shape: type[BaseModel]) -> Mapping[str, Any]:
    """The answer, which is of the shape and has no field that the shape does not tell."""
    assert answer.status_code == 200, answer.text
    shape.model_validate_json(answer.data, extra=None if shape is answers.StoreFacts else "forbid")
    body: Mapping[str, Any] = answer.get_json()
    return body


@pytest.mark.parametrize("model", DEMO_MODELS)
@pytest.mark.parametrize("words", ["Hello", "THINK CITE FILE"])
def test_whole_answers_are_as_the_document_says(client: FlaskClient, model: str, words: str) -> None:
    chat = {"model": model, "messages": [{"role": "user", "content": words}]}

    held(client.post("/v1/chat/completions", json=chat), answers.ChatCompletion)
    held(client.post("/v1/completions", json={"model": model, "prompt": words}), answers.TextCompletion)


@pytest.mark.parametrize("words", ["Hello", "THINK CITE FILE"])
@pytest.mark.parametrize(
    ("path", "asked", "shape"),
    [
        ("/v1/chat/completions", "messages", answers.ChatCompletionChunk),
        ("/v1/completions", "prompt", answers.TextCompletion),
    ],
)
def test_every_event_of_a_stream_is_as_the_document_says(
    client: FlaskClient, words: str, path: str, asked: str, shape: type[BaseModel]
) -> None:
    said = [{"role": "user", "content": words}] if asked == "messages" else words
    body = {"model": "demo-chatflow", "stream": True, "stream_options": {"include_usage": True}, asked: said}
    events = client.post(path, json=body).text.split("\n\n")
    frames = [event.removeprefix("data: ") for event in events if event.startswith("data: {")]

    assert len(frames) > 3
    for frame in frames:
        shape.model_validate_json(frame, extra="forbid")


def test_models_files_and_speech_are_as_the_document_says(client: FlaskClient) -> None:
    held(client.get("/v1/models"), answers.ModelList)
    held(client.get("/v1/models/demo-workflow"), answers.Model)
    form = {"purpose": "user_data", "file": (BytesIO(b"text"), "a.txt")}
    file = held(client.post("/v1/files", data=form), answers.File)
    held(client.get("/v1/files"), answers.FileList)
    held(client.get(f"/v1/files/{file['id']}"), answers.File)
    held(client.delete(f"/v1/files/{file['id']}"), answers.FileDeleted)
    for style in ("json", "verbose_json"):
        recording = {"model": "demo-chat", "response_format": style, "file": (BytesIO(MP3), "a.mp3")}
        held(client.post("/v1/audio/transcriptions", data=recording), answers.Transcript)


def test_what_dify_has_and_the_operators_see_is_as_the_document_says(client: FlaskClient) -> None:
    answer = client.post("/v1/chat/completions", json=HELLO)
    conversation, message = (answer.headers[f"X-Dify-{each}-Id"] for each in ("Conversation", "Message"))
    query = {"model": "demo-chat", "user": "u-1", "conversation_id": conversation}
    paths = {
        "/models/{model}/parameters": "/models/demo-chat/parameters",
        "/conversations": "/conversations",
        "/conversations/{conversation_id}/messages": f"/conversations/{conversation}/messages",
        "/messages/{message_id}/suggested": f"/messages/{message}/suggested",
    }
    for rule, path in paths.items():
        shape = OPERATIONS[f"GET /v1/dify{rule}"].answer
        assert isinstance(shape, type)
        held(client.get(f"/v1/dify{path}", query_string=query), shape)
    for rule in ("mappings", "recent", "database/info"):
        shape = OPERATIONS[f"GET /v1/conversation/{rule}"].answer
        assert isinstance(shape, type)
        held(client.get(f"/v1/conversation/{rule}", headers=ADMIN), shape)
    held(client.post("/v1/conversation/cleanup", json={"max_age_days": 9}, headers=ADMIN), answers.CleanedUp)
    held(client.post("/v1/conversation/database/optimize", headers=ADMIN), answers.Optimized)
    (stored,) = [
        each["id"]
        for each in client.get("/v1/conversation/recent", headers=ADMIN).get_json()["recent_mappings"]
        if each["dify_conversation_id"] == conversation
    ]
    held(client.delete(f"/v1/conversation/mappings/{stored}", headers=ADMIN), answers.ConversationDeleted)
    held(client.delete("/v1/conversation/users/nobody", headers=ADMIN), answers.UserDeleted)


@pytest.mark.parametrize("path", ["/", "/health", "/health/live", "/health/ready", "/openapi.json"])
def test_what_everybody_may_see_is_as_the_document_says(client: FlaskClient, path: str) -> None:
    shape = OPERATIONS[f"GET {path}"].answer
    assert isinstance(shape, type)

    shape.model_validate_json(client.get(path).data)


def test_a_failure_is_as_the_document_says(client: FlaskClient) -> None:
    failure = client.post("/v1/chat/completions", json={"model": "nobody", "messages": []})

    answers.Error.model_validate_json(failure.data, extra="forbid")


def test_the_shapes_would_notice_a_field_that_they_do_not_tell() -> None:
    with pytest.raises(ValidationError):
        answers.FileDeleted.model_validate_json(
            '{"id": "a", "object": "file", "deleted": true, "by": "whom"}', extra="forbid"
        )
