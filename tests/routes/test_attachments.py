"""Files of a message on their way to an app: what Dify is given, and what is refused before it is asked."""

import base64
import io
import json

import httpx
import pytest
from flask.testing import FlaskClient

from tests.conftest import Serve
from tests.fakes.files import JPEG, MP3, PDF, PNG, WAV, png
from tests.fakes.frames import Shape
from tests.fakes.mock_dify import MockDify, refusal, stream

CHAT = "/v1/chat/completions"
LIMITS = {"image_file_size_limit": 1, "file_size_limit": 15}
UPLOADS = {"enabled": True, "allowed_file_types": ["image"], "number_limits": 2}
PART = "messages[0].content[0]"
KEYS = "alice:sk-alices-key,bob:sk-bobs-key-x"


def data_uri(content: bytes, mime_type: str = "image/png") -> str:
    return f"data:{mime_type};base64,{base64.b64encode(content).decode()}"


def image(content: bytes = PNG, mime_type: str = "image/png") -> Shape:
    return {"type": "image_url", "image_url": {"url": data_uri(content, mime_type)}}


def remote(url: str = "https://pics.example/cat.png") -> Shape:
    return {"type": "image_url", "image_url": {"url": url}}


def ask(client: FlaskClient, *parts: Shape, **more: object) -> httpx.Response:
    body = {"model": "bot", "messages": [{"role": "user", "content": list(parts)}], **more}
    response = client.post(CHAT, json=body)
    return httpx.Response(response.status_code, content=response.data)


def numbered_uploads(dify: MockDify) -> None:
    """Each upload gets an id of its own."""
    dify.answers["upload"] = lambda _: httpx.Response(201, json={"id": f"upload-{len(dify.asked('upload'))}"})


def parameters(dify: MockDify, mode: str = "chat", **shape: object) -> None:
    dify.answers["info"] = lambda _: httpx.Response(200, json={"mode": mode})
    dify.answers["parameters"] = lambda _: httpx.Response(200, json={"user_input_form": [], **shape})


def upload_ids(dify: MockDify) -> list[object]:
    return [[file["upload_file_id"] for file in body["files"]] for body in dify.bodies("run")]


def test_a_file_is_uploaded_with_the_name_and_type_that_its_bytes_tell(serve: Serve, dify: MockDify) -> None:
    ask(serve(), image(JPEG))

    (upload,) = dify.asked("upload")
    assert b'filename="image.jpg"\r\nContent-Type: image/jpeg\r\n\r\n' + JPEG in upload.content


def test_a_file_is_uploaded_once_for_an_app_and_a_user(serve: Serve, dify: MockDify) -> None:
    numbered_uploads(dify)
    client = serve()

    for user in ("anna", "anna", "bob"):
        assert ask(client, image(), image(), user=user).status_code == 200

    assert upload_ids(dify) == [["upload-1"] * 2, ["upload-1"] * 2, ["upload-2"] * 2]


def test_another_process_knows_of_the_upload(serve: Serve, dify: MockDify) -> None:
    numbered_uploads(dify)
    for _ in range(2):
        ask(serve(), image())

    assert upload_ids(dify) == [["upload-1"], ["upload-1"]]


def test_a_file_that_dify_forgot_is_uploaded_anew_unnoticed(serve: Serve, dify: MockDify) -> None:
    numbered_uploads(dify)
    forgotten: set[str] = set()

    def run(request: httpx.Request) -> httpx.Response:
        ids = {file["upload_file_id"] for file in json.loads(request.content)["files"]}
        return refusal(400, "invalid_param", "Invalid upload file") if ids & forgotten else stream()

    dify.answers["run"] = run
    client = serve()
    ask(client, image())
    forgotten.add("upload-1")

    for streamed in (False, True):
        assert ask(client, image(), stream=streamed).status_code == 200

    assert upload_ids(dify) == [["upload-1"], ["upload-1"], ["upload-2"], ["upload-2"]]


def test_a_file_that_dify_refuses_at_once_is_uploaded_only_once(serve: Serve, dify: MockDify) -> None:
    dify.answers["run"] = lambda _: refusal(400, "invalid_param", "Invalid upload file")

    response = ask(serve(), image())

    assert response.status_code == 400
    assert len(dify.asked("upload")) == 1


def test_a_dify_that_would_not_say_so_is_given_every_file(serve: Serve, dify: MockDify) -> None:
    info = {"mode": "advanced-chat"}
    dify.answers["info"] = lambda _: httpx.Response(200, json=info, headers={"X-Version": "1.13.3"})
    client = serve()
    for _ in range(2):
        ask(client, image())

    assert len(dify.asked("upload")) == 2


def test_a_workflow_gets_files_in_its_variables(serve: Serve, dify: MockDify) -> None:
    rules = {"allowed_file_types": ["image"], "required": True}
    papers = {"allowed_file_types": ["document"], "max_length": 2}
    form = [
        {"paragraph": {"variable": "query", "required": True}},
        {"file-list": {"variable": "papers", **papers}},
        {"file": {"variable": "pic", "max_length": 256, **rules}},
    ]
    parameters(dify, "workflow", user_input_form=form, file_upload={"enabled": False})
    paper = {"type": "file", "file": {"file_data": data_uri(PDF, "application/pdf"), "filename": "a.pdf"}}

    ask(serve(), {"type": "text", "text": "Read"}, paper, image(), paper)

    (body,) = dify.bodies("run")
    document = {"type": "document", "transfer_method": "local_file", "upload_file_id": "upload-1"}
    picture = {"type": "image", "transfer_method": "local_file", "upload_file_id": "upload-1"}
    assert body["inputs"] == {"query": "Read", "papers": [document, document], "pic": picture}
    assert "files" not in body


def test_inputs_of_the_client_win(serve: Serve, dify: MockDify) -> None:
    form = [{"file": {"variable": "pic", "allowed_file_types": ["image"]}}]
    parameters(dify, "workflow", user_input_form=form, file_upload=UPLOADS)
    own = {"type": "image", "transfer_method": "remote_url", "url": "https://pics.example/own.png"}

    ask(serve(), remote(), inputs={"pic": own})

    (body,) = dify.bodies("run")
    assert body["inputs"]["pic"] == own
    assert [file["url"] for file in body["files"]] == ["https://pics.example/cat.png"]


@pytest.mark.parametrize(
    ("parts", "status", "code", "limit"),
    [
        ([image()] * 3, 400, "too_many_files", "at most 2"),
        ([image(png() + bytes(1024**2))], 413, "file_too_large", "1048576 bytes"),
        ([image(MP3, "audio/mpeg")], 415, "unsupported_media_type", "only image"),
        ([image(PDF, "image/png")], 415, "invalid_file_type", "application/pdf"),
        ([image(png(60_000, 60_000))], 413, "image_too_large", "60000 x 60000"),
        ([remote("https://pics.example/film.mp4")], 415, "unsupported_media_type", "only image"),
    ],
    ids=["too many", "too large", "wrong type", "lying", "a bomb", "a URL of a wrong type"],
)
def test_what_the_app_does_not_take_is_refused_before_dify_is_asked(
    serve: Serve, dify: MockDify, parts: list[Shape], status: int, code: str, limit: str
) -> None:
    parameters(dify, file_upload=UPLOADS, system_parameters=LIMITS)

    response = ask(serve(), *parts)

    error = response.json()["error"]
    assert (response.status_code, error["code"]) == (status, code)
    assert error["param"].startswith("messages[0].content[")
    assert limit in error["message"]
    assert not dify.asked("upload")
    assert not dify.asked("run")


@pytest.mark.parametrize(
    ("part", "status", "code"),
    [
        (image(b""), 400, "invalid_value"),
        ({"type": "image_url", "image_url": {"url": "data:image/png;base64,!!!"}}, 400, "invalid_value"),
        ({"type": "image_url", "image_url": {"url": "data:;base64,AAEC"}}, 415, "invalid_file_type"),
        ({"type": "input_audio", "input_audio": {"data": "AAE", "format": "wav"}}, 400, "invalid_value"),
        ({"type": "file", "file": {"file_id": "file-of-nobody"}}, 404, "file_not_found"),
        ({"type": "file", "file": {"file_data": "aGk=", "filename": "../a.txt"}}, 400, "invalid_value"),
        ({"type": "file", "file": {"file_data": "aGk=", "filename": "a\0.txt"}}, 400, "invalid_value"),
        ({"type": "file", "file": {}}, 400, "missing_required_parameter"),
        ({"type": "image_url", "image_url": [None, None]}, 400, "invalid_type"),
    ],
    ids=["0 bytes", "no base64", "no type", "cut", "an unknown id", "a path", "NUL", "nothing", "nulls"],
)
def test_a_broken_file_is_the_client_s_fault(
    serve: Serve, dify: MockDify, part: Shape, status: int, code: str
) -> None:
    response = ask(serve(), part)

    error = response.json()["error"]
    assert (response.status_code, error["code"]) == (status, code)
    assert error["param"].startswith(PART)
    assert not dify.asked("upload")


def test_a_thousand_files_are_too_many(serve: Serve, dify: MockDify) -> None:
    response = ask(serve(), *[image()] * 1_000)

    assert response.status_code == 400
    assert response.json()["error"]["param"] == "messages[0].content[50].image_url"
    assert not dify.requests


def test_a_model_may_take_no_files(serve: Serve, dify: MockDify) -> None:
    response = ask(serve({"bot": {"api_key": "app-bot", "files": "off"}}), remote())

    assert response.status_code == 400
    assert response.json()["error"]["code"] == "unsupported_value"
    assert not dify.asked("run")


@pytest.mark.parametrize("url", ["http://127.0.0.1/a.png", "http://localhost/", "http://169.254.169.254/"])
def test_a_model_that_fetches_fetches_nothing_from_a_private_network(
    serve: Serve, dify: MockDify, url: str
) -> None:
    response = ask(serve({"bot": {"api_key": "app-bot", "files": "fetch"}}), remote(url))

    assert response.status_code == 400
    assert response.json()["error"]["code"] == "file_not_fetched"
    assert not dify.asked("run")


@pytest.mark.parametrize("host", ["nas.local", "127.1", "[::ffff:10.0.0.1]", "169.254.169.254", "nas"])
def test_urls_into_a_private_network_are_passed_on_only_where_that_is_wanted(
    serve: Serve, dify: MockDify, host: str
) -> None:
    private = remote(f"http://{host}/cat.png")

    refused = ask(serve(), private)
    assert refused.status_code == 400
    assert refused.json()["error"]["code"] == "private_url"
    assert not dify.asked("run")
    assert ask(serve(), remote()).status_code == 200
    assert ask(serve(ATTACHMENT_PRIVATE_URLS="pass"), private).status_code == 200


def test_dify_s_own_failure_to_fetch_does_not_repeat_the_url(serve: Serve, dify: MockDify) -> None:
    message = "Reached maximum retries (3) for URL https://pics.example/cat.png?sig=secret"
    dify.answers["run"] = lambda _: refusal(400, "invalid_param", message)

    response = ask(serve(), remote("https://pics.example/cat.png?sig=secret"))

    assert response.status_code == 400
    assert "secret" not in response.text


def test_nothing_of_a_file_is_logged(serve: Serve, dify: MockDify, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG", logger="opendify")
    named = {"type": "file", "file": {"file_data": data_uri(WAV, "audio/wav"), "filename": "diary.wav"}}

    ask(serve(), named, remote("https://pics.example/secret.png?sig=1"))

    assert "diary" not in caplog.text
    assert "secret" not in caplog.text


def stored(client: FlaskClient, content: bytes, name: str, key: str) -> Shape:
    """A part that names a file of `/v1/files`."""
    form = {"file": (io.BytesIO(content), name), "purpose": "user_data"}
    answer = client.post("/v1/files", data=form, headers={"Authorization": f"Bearer {key}"})
    return {"type": "file", "file": {"file_id": answer.get_json()["id"]}}


def ask_as(client: FlaskClient, key: str, part: Shape) -> httpx.Response:
    body = {"model": "bot", "messages": [{"role": "user", "content": [part]}]}
    response = client.post(CHAT, json=body, headers={"Authorization": f"Bearer {key}"})
    return httpx.Response(response.status_code, content=response.data)


def test_a_stored_file_goes_to_the_app_when_it_is_used(serve: Serve, dify: MockDify) -> None:
    client = serve(AUTH_MODE="keys", API_KEYS=KEYS)
    part = stored(client, PDF, "paper.pdf", "sk-alices-key")
    assert not dify.asked("upload")

    for _ in range(2):
        assert ask_as(client, "sk-alices-key", part).status_code == 200

    (upload,) = dify.asked("upload")
    assert b'filename="paper.pdf"\r\nContent-Type: application/pdf\r\n\r\n' + PDF in upload.content
    for body in dify.bodies("run"):
        assert body["files"] == [
            {"type": "document", "transfer_method": "local_file", "upload_file_id": "upload-1"}
        ]


def test_a_stored_picture_is_a_picture(serve: Serve, dify: MockDify) -> None:
    client = serve(AUTH_MODE="keys", API_KEYS=KEYS)

    ask_as(client, "sk-alices-key", stored(client, PNG, "cat.png", "sk-alices-key"))

    assert [file["type"] for file in dify.bodies("run")[0]["files"]] == ["image"]


def test_another_caller_s_file_does_not_exist(serve: Serve, dify: MockDify) -> None:
    client = serve(AUTH_MODE="keys", API_KEYS=KEYS)
    part = stored(client, PDF, "paper.pdf", "sk-alices-key")

    response = ask_as(client, "sk-bobs-key-x", part)

    error = response.json()["error"]
    assert (response.status_code, error["code"]) == (404, "file_not_found")
    assert error["param"] == f"{PART}.file.file_id"
    assert not dify.asked("upload")
