"""`FILES_PROXY`: what an app makes is copied for its caller and served under links of our own."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from flask.testing import FlaskClient

from opendify.app import create_app
from opendify.files.outgoing import dify_file_path
from tests.fakes.clocks import FakeClock
from tests.fakes.frames import END, event, message
from tests.fakes.mock_dify import Answer, MockDify, stream
from tests.fakes.openai_errors import assert_openai_error
from tests.fakes.settings import make_settings

ALICE = {"Authorization": "Bearer sk-the-key-of-alice"}
BOB = {"Authorization": "Bearer sk-the-key-of-bob"}
ASK = {"model": "bot", "messages": [{"role": "user", "content": "Draw"}]}
URL = "/files/tools/a.png?timestamp=1&sign=s%3D"
PNG = b"\x89PNG\r\n\x1a\n...."


@pytest.fixture
def client(dify: MockDify) -> Iterator[FlaskClient]:
    settings = make_settings(
        AUTH_MODE="keys",
        API_KEYS="alice:sk-the-key-of-alice,bob:sk-the-key-of-bob",
        FILES_PROXY="true",
        PUBLIC_URL="https://ai.example/",
        FILES_MAX_BYTES="2000",
    )
    serve(dify, lambda _: httpx.Response(200, content=PNG, headers={"Content-Type": "image/png"}))
    with create_app(settings, transport=dify.transport).test_client() as opened:
        yield opened


def serve(dify: MockDify, answer: Answer, url: str = URL) -> None:
    made = event("message_file", type="image", belongs_to="assistant", url=url)
    dify.answers["run"] = lambda _: stream(message("See:") + made + END)
    dify.answers["other"] = answer


def ask(client: FlaskClient) -> tuple[str, dict[str, Any]]:
    answer = client.post("/v1/chat/completions", json=ASK, headers=ALICE).get_json()
    (file,) = answer["dify"]["files"]
    return answer["choices"][0]["message"]["content"], file


def test_the_answer_links_to_a_copy_that_needs_no_key(client: FlaskClient, dify: MockDify) -> None:
    text, file = ask(client)

    assert text == f"See:\n\n![a.png]({file['url']})\n\n"
    assert file["url"].startswith(f"https://ai.example/v1/files/{file['id']}/content?token=")
    (fetched,) = dify.asked("other")
    assert str(fetched.url) == f"http://dify.test{URL}"
    assert "Authorization" not in fetched.headers, "a link that an app made up opens nothing"
    parts = urlsplit(file["url"])
    served = client.get(f"{parts.path}?{parts.query}")
    assert (served.data, served.content_type) == (PNG, "image/png")
    assert served.headers["Content-Disposition"].startswith("inline; ")
    assert served.headers["X-Content-Type-Options"] == "nosniff"


def test_the_copy_is_the_callers_own(client: FlaskClient) -> None:
    _, file = ask(client)

    kept = client.get(f"/v1/files/{file['id']}", headers=ALICE).get_json()
    assert (kept["purpose"], kept["bytes"], kept["filename"]) == ("assistants_output", len(PNG), "a.png")
    assert_openai_error(client.get(f"/v1/files/{file['id']}", headers=BOB), 404, "file_not_found", param="id")
    for token in ("", "x", urlsplit(file["url"]).query[6:-9]):
        refused = client.get(f"/v1/files/{file['id']}/content?token={token}", headers=ALICE)
        assert_openai_error(refused, 404, "file_not_found", param="id")


@pytest.mark.parametrize("kind", ["text/html", "image/svg+xml", "application/xhtml+xml", "text/javascript"])
def test_what_could_run_is_never_shown(client: FlaskClient, dify: MockDify, kind: str) -> None:
    serve(
        dify,
        lambda _: httpx.Response(200, content=b"<script>", headers={"Content-Type": kind}),
        "/files/tools/page?sign=s",
    )
    parts = urlsplit(ask(client)[1]["url"])

    served = client.get(f"{parts.path}?{parts.query}")
    assert served.headers["Content-Disposition"].startswith("attachment; ")
    assert served.content_type in {"application/octet-stream", "image/svg+xml"}
    assert "sandbox" in served.headers["Content-Security-Policy"]


@pytest.mark.parametrize(
    "answer",
    [
        lambda _: httpx.Response(404),
        lambda _: httpx.Response(302, headers={"Location": "http://169.254.169.254/latest"}),
        lambda _: httpx.Response(200, content=b"x" * 2001),
    ],
)
def test_where_copying_fails_the_answer_has_difys_url(
    client: FlaskClient, dify: MockDify, answer: Answer
) -> None:
    serve(dify, answer)
    text, file = ask(client)

    assert file["url"] == f"http://dify.test{URL}"
    assert file["url"] in text
    assert len(dify.asked("other")) == 1, "no redirect is followed"
    assert client.get("/v1/files", headers=ALICE).get_json()["data"] == []


def test_all_copies_of_one_answer_may_take_half_a_minute_together(dify: MockDify) -> None:
    clock = FakeClock()

    def slowly(_: httpx.Request) -> httpx.Response:
        clock.advance(20)
        return httpx.Response(200, content=PNG, headers={"Content-Type": "image/png"})

    urls = [URL.replace("a.png", f"{n}.png") for n in range(3)]
    made = [event("message_file", type="image", belongs_to="assistant", url=url) for url in urls]
    serve(dify, slowly)
    dify.answers["run"] = lambda _: stream(message("See:") + b"".join(made) + END)
    settings = make_settings(AUTH_MODE="open", FILES_PROXY="true", PUBLIC_URL="https://ai.example/")
    with create_app(settings, transport=dify.transport, clock=clock).test_client() as client:
        answer = client.post("/v1/chat/completions", json=ASK).get_json()

    hosts = [urlsplit(file["url"]).hostname for file in answer["dify"]["files"]]
    assert hosts == ["ai.example", "dify.test", "dify.test"]
    assert len(dify.asked("other")) == 2, "the third is not even tried"


def test_another_host_is_never_asked(client: FlaskClient, dify: MockDify) -> None:
    serve(dify, lambda _: httpx.Response(200, content=PNG), "http://169.254.169.254/latest/meta-data")

    assert ask(client)[1]["url"] == "http://169.254.169.254/latest/meta-data"
    assert dify.asked("other") == []


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("/files/a?b=c", "/files/a?b=c"),
        ("https://dify.example/files/tools/a.png", "/files/tools/a.png"),
        ("https://dify.example/anything/a", None),
        ("/v1/conversations?user=another", None),
        ("/files/../v1/conversations?user=another", None),
        ("/files/%2e%2e/v1/conversations?user=another", None),
        ("/files/..\\v1/conversations?user=another", None),
        ("http://api:5001/files/tools/a.png?sign=x", "/files/tools/a.png?sign=x"),
        ("http://10.0.0.1/admin", None),
        ("https://user@dify.example/a", None),
        ("https://dify.example.evil/a", None),
        ("//evil.example/a", None),
        ("javascript:alert(1)", None),
        ("http://[broken", None),
        ("files/a", None),
    ],
)
def test_only_what_the_apps_own_server_has_is_fetched(url: str, path: str | None) -> None:
    assert dify_file_path(url, "https://dify.example/v1") == path


def test_a_server_below_a_prefix_may_have_its_files_there() -> None:
    assert dify_file_path("https://ai.example/dify/files/a", "https://ai.example/dify/v1") == "/dify/files/a"
    assert dify_file_path("http://api:5001/dify/files/a", "https://ai.example/dify/v1") is None
