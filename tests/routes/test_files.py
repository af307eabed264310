"""`/v1/files`: OpenAI's shapes and errors, each caller's own files, and forms that lie."""

import io
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from opendify.app import create_app
from tests.conformance.judge import schema_faults
from tests.fakes.openai_errors import assert_openai_error
from tests.fakes.settings import make_settings

NOW = 1_800_000_000.0
ALICE = {"Authorization": "Bearer sk-the-key-of-alice"}
BOB = {"Authorization": "Bearer sk-the-key-of-bob"}
FORM = "multipart/form-data; boundary=b"
KEYS = {"AUTH_MODE": "keys", "API_KEYS": "alice:sk-the-key-of-alice,bob:sk-the-key-of-bob"}


def client_of(**settings: str) -> FlaskClient:
    ticks = iter(range(10**6))
    app = create_app(make_settings(**{**KEYS, **settings}), now=lambda: NOW + next(ticks) / 100)
    return app.test_client()


@pytest.fixture
def client() -> Iterator[FlaskClient]:
    with client_of(FILES_MAX_BYTES="2000", FILES_MAX_TOTAL_BYTES="10000") as opened:
        yield opened


def upload(
    client: FlaskClient,
    content: bytes = b"hello",
    name: str = "notes.txt",
    *,
    headers: Mapping[str, str] = ALICE,
    **fields: Any,
) -> TestResponse:
    fields = {"purpose": "user_data", **fields}
    parts = [_part(f'name="{field}"', value.encode()) for field, value in fields.items()]
    body = b"".join([*parts, _part(f'name="file"; filename="{name}"', content), b"--b--\r\n"])
    return client.post("/v1/files", data=body, headers=headers, content_type=FORM)


def _part(head: str, content: bytes) -> bytes:
    return b"--b\r\nContent-Disposition: form-data; " + head.encode() + b"\r\n\r\n" + content + b"\r\n"


def uploaded(client: FlaskClient, content: bytes = b"hello", **more: Any) -> str:
    response = upload(client, content, **more)
    assert response.status_code == 200, response.text
    file_id = response.get_json()["id"]
    assert isinstance(file_id, str)
    return file_id


class TestShapes:
    def test_an_upload_is_answered_with_the_file(self, client: FlaskClient) -> None:
        response = upload(client, b"hello", "notes.txt", purpose="assistants")
        shape = response.get_json()

        assert response.status_code == 200
        assert schema_faults("OpenAIFile", shape) == []
        assert shape == {
            "id": shape["id"],
            "object": "file",
            "bytes": 5,
            "created_at": int(NOW),
            "filename": "notes.txt",
            "purpose": "assistants",
            "status": "processed",
            "expires_at": int(NOW) + 30 * 86_400,
        }
        assert client.get(f"/v1/files/{shape['id']}", headers=ALICE).get_json() == shape

    def test_the_content_comes_back_to_be_saved(self, client: FlaskClient) -> None:
        file_id = uploaded(client, b"\x00\xff<script>", name="ü 1.html")

        response = client.get(f"/v1/files/{file_id}/content", headers=ALICE)

        assert response.data == b"\x00\xff<script>"
        assert response.headers["Content-Length"] == "10"
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert response.headers["Content-Disposition"] == (
            "attachment; filename=\"? 1.html\"; filename*=UTF-8''%C3%BC%201.html"
        )
        assert response.headers["Content-Security-Policy"] == "default-src 'none'; sandbox"
        assert response.headers["x-request-id"].startswith("req_")

    def test_a_deletion_is_confirmed_once(self, client: FlaskClient) -> None:
        file_id = uploaded(client)

        deleted = client.delete(f"/v1/files/{file_id}", headers=ALICE)

        assert schema_faults("DeleteFileResponse", deleted.get_json()) == []
        assert deleted.get_json() == {"id": file_id, "object": "file", "deleted": True}
        for path in (f"/v1/files/{file_id}", f"/v1/files/{file_id}/content"):
            assert_openai_error(client.get(path, headers=ALICE), 404, "file_not_found", param="id")
        again = client.delete(f"/v1/files/{file_id}", headers=ALICE)
        assert assert_openai_error(again, 404, "file_not_found", param="id") == (
            f"No such File object: {file_id}"
        )

    def test_an_upload_may_ask_to_be_deleted_early(self, client: FlaskClient) -> None:
        fields: dict[str, Any] = {"expires_after[anchor]": "created_at", "expires_after[seconds]": "3600"}
        shape = upload(client, **fields).get_json()

        assert shape["expires_at"] == int(NOW) + 3_600

    @pytest.mark.parametrize("path", ["/files", "/v1/v1/files", "/openai/files", "/openai/v1/files"])
    def test_all_ways_to_write_the_url_lead_there(self, client: FlaskClient, path: str) -> None:
        file_id = uploaded(client)

        listed = client.get(path, headers=ALICE, query_string={"api-version": "2026-01-01"}).get_json()
        assert [file["id"] for file in listed["data"]] == [file_id]
        assert client.get(f"{path}/{file_id}/content", headers=ALICE).data == b"hello"


class TestListing:
    def test_nothing_is_an_empty_list(self, client: FlaskClient) -> None:
        shape = client.get("/v1/files", headers=ALICE).get_json()

        assert schema_faults("ListFilesResponse", shape) == []
        assert shape == {"object": "list", "data": [], "first_id": "", "last_id": "", "has_more": False}

    def test_pages_follow_each_other(self, client: FlaskClient) -> None:
        newest_first = list(reversed([uploaded(client) for _ in range(5)]))

        first = client.get("/v1/files?limit=3", headers=ALICE).get_json()
        assert schema_faults("ListFilesResponse", first) == []
        assert [file["id"] for file in first["data"]] == newest_first[:3]
        assert (first["first_id"], first["last_id"], first["has_more"]) == (
            newest_first[0],
            newest_first[2],
            True,
        )
        second = client.get(f"/v1/files?limit=3&after={first['last_id']}", headers=ALICE).get_json()
        assert [file["id"] for file in second["data"]] == newest_first[3:]
        assert not second["has_more"]

    def test_order_and_purpose_can_be_chosen(self, client: FlaskClient) -> None:
        first, _, third = (uploaded(client, purpose=each) for each in ("batch", "vision", "batch"))

        listed = client.get("/v1/files?order=asc&purpose=batch", headers=ALICE).get_json()
        assert [file["id"] for file in listed["data"]] == [first, third]

    @pytest.mark.parametrize(
        ("query", "code", "param"),
        [
            ("limit=0", "integer_below_min_value", "limit"),
            ("limit=10001", "integer_above_max_value", "limit"),
            ("limit=many", "invalid_type", "limit"),
            ("order=best", "invalid_value", "order"),
            (f"after={'x' * 200}", "string_above_max_length", "after"),
        ],
    )
    def test_what_cannot_be_listed_is_refused(
        self, client: FlaskClient, query: str, code: str, param: str
    ) -> None:
        assert_openai_error(client.get(f"/v1/files?{query}", headers=ALICE), 400, code, param=param)


class TestOwners:
    def test_another_caller_has_no_way_to_a_file(self, client: FlaskClient) -> None:
        file_id = uploaded(client)
        path = f"/v1/files/{file_id}"
        ways: tuple[Callable[[], TestResponse], ...] = (
            lambda: client.get(path, headers=BOB),
            lambda: client.get(f"{path}/content", headers=BOB),
            lambda: client.delete(path, headers=BOB),
        )

        messages = {assert_openai_error(way(), 404, "file_not_found", param="id") for way in ways}
        # As for an id that nobody has, so that ids cannot be probed.
        assert messages == {f"No such File object: {file_id}"}
        assert client.get("/v1/files", headers=BOB).get_json()["data"] == []
        assert client.get(f"{path}/content", headers=ALICE).data == b"hello"

    @pytest.mark.parametrize("path", ["/v1/files", "/v1/files/file-1", "/v1/files/file-1/content"])
    def test_without_a_key_nothing_is_told(self, client: FlaskClient, path: str) -> None:
        assert_openai_error(client.get(path), 401, "invalid_api_key")

    def test_without_a_key_nothing_is_taken(self, client: FlaskClient) -> None:
        assert_openai_error(upload(client, headers={}), 401, "invalid_api_key")

    @pytest.mark.parametrize("guess", ["file-", "..%2F..%2Fapi-key", "%2e%2e", "x%00y", "%ED%A0%80", "*"])
    def test_no_guess_leads_anywhere(self, client: FlaskClient, guess: str) -> None:
        uploaded(client)

        response = client.get(f"/v1/files/{guess}", headers=ALICE)
        assert response.status_code == 404
        assert response.get_json()["error"]["code"] in {"file_not_found", "not_found"}


class TestLimits:
    def test_a_file_as_large_as_may_be_passes(self, client: FlaskClient) -> None:
        assert upload(client, b"x" * 2000).get_json()["bytes"] == 2000

    def test_one_byte_more_is_refused_with_the_limit(self, client: FlaskClient) -> None:
        message = assert_openai_error(upload(client, b"x" * 2001), 413, "request_too_large", param="file")

        assert "2000 bytes" in message
        assert client.get("/v1/files", headers=ALICE).get_json()["data"] == []

    def test_the_length_alone_is_enough_to_refuse(self, client: FlaskClient) -> None:
        assert_openai_error(upload(client, b"x" * 2_000_000), 413, "request_too_large")

    def test_files_may_be_larger_than_other_requests(self) -> None:
        with client_of(MAX_REQUEST_BYTES="1024", FILES_MAX_BYTES="300000") as client:
            assert upload(client, b"x" * 300_000).get_json()["bytes"] == 300_000

    def test_where_there_is_no_room_left_it_says_so(self, client: FlaskClient) -> None:
        for _ in range(5):
            uploaded(client, b"x" * 2000)

        refused = upload(client, b"x")
        assert refused.status_code == 507
        assert refused.get_json()["error"]["code"] == "file_storage_full"
        assert refused.headers["x-should-retry"] == "false"

    def test_one_key_cannot_take_all_the_room(self) -> None:
        with client_of(FILES_MAX_BYTES="9000", FILES_MAX_BYTES_PER_KEY="10000") as client:
            uploaded(client, b"x" * 9000)

            refused = upload(client, b"x" * 2000)
            message = assert_openai_error(refused, 413, "file_quota_exceeded", param="file")
            assert "9000 of 10000 bytes are taken" in message
            assert upload(client, b"x" * 2000, headers=BOB).status_code == 200


class TestForms:
    """Each body is written by hand."""

    FILE = _part('name="file"; filename="a.txt"', b"hi")
    PURPOSE = _part('name="purpose"', b"vision")

    def post(
        self, client: FlaskClient, body: bytes, content_type: str = FORM, length: int | None = None
    ) -> TestResponse:
        return client.post(
            "/v1/files",
            input_stream=io.BytesIO(body),
            content_type=content_type,
            headers=ALICE,
            environ_overrides={"CONTENT_LENGTH": str(len(body) if length is None else length)},
        )

    @pytest.mark.parametrize("parts", [FILE + PURPOSE, PURPOSE + FILE])
    def test_the_parts_may_come_in_any_order(self, client: FlaskClient, parts: bytes) -> None:
        shape = self.post(client, parts + b"--b--\r\n").get_json()

        assert (shape["filename"], shape["purpose"], shape["bytes"]) == ("a.txt", "vision", 2)

    @pytest.mark.parametrize(
        ("body", "code", "param"),
        [
            (FILE + b"--b--", "missing_required_parameter", "purpose"),
            (PURPOSE + b"--b--", "missing_required_parameter", "file"),
            (FILE + FILE + PURPOSE + b"--b--", None, "file"),
            (FILE.replace(b'"file"', b'"image"') + PURPOSE + b"--b--", None, "file"),
            (FILE + PURPOSE, None, None),
            (FILE + PURPOSE[:-9], None, None),
            (b"", None, None),
            (b"--c--\r\n", None, None),
            (b"hello", None, None),
            (b"--b\r\nContent-Type: text/plain\r\n\r\nhi\r\n--b--", None, None),
            (b"--b\r\nX: \xff\r\n\r\nhi\r\n--b--", None, None),
            (FILE + PURPOSE.replace(b"vision", b"what?") + b"--b--", "invalid_value", "purpose"),
        ],
    )
    def test_a_form_that_is_none_is_refused_and_leaves_nothing(
        self, client: FlaskClient, body: bytes, code: str | None, param: str | None
    ) -> None:
        assert_openai_error(self.post(client, body), 400, code, param=param)
        assert client.get("/v1/files", headers=ALICE).get_json()["data"] == []

    @pytest.mark.parametrize("field", ["expires_after[seconds]", "expires_after"])
    def test_an_expiry_must_be_whole(self, client: FlaskClient, field: str) -> None:
        part = _part(f'name="{field}"', b"3600")

        refused = self.post(client, self.FILE + self.PURPOSE + part + b"--b--")
        assert refused.status_code == 400
        assert refused.get_json()["error"]["param"].startswith("expires_after")

    @pytest.mark.parametrize(
        ("content_type", "status", "code"),
        [
            ("application/json", 415, "unsupported_media_type"),
            ("", 415, "unsupported_media_type"),
            ("multipart/form-data", 400, None),
            (f"multipart/form-data; boundary={'b' * 300}", 400, None),
        ],
    )
    def test_what_is_no_form_is_told_what_would_be(
        self, client: FlaskClient, content_type: str, status: int, code: str | None
    ) -> None:
        refused = self.post(client, self.FILE + self.PURPOSE + b"--b--", content_type)
        assert_openai_error(refused, status, code)

    @pytest.mark.parametrize(
        ("written", "kept"),
        [
            ("../../etc/passwd", "passwd"),
            ("..\\\\..\\\\boot.ini", "boot.ini"),
            ("a\x00b.txt", "ab.txt"),
            ("x" * 400 + ".txt", "x" * 251 + ".txt"),
            ("", "file"),
        ],
    )
    def test_a_name_is_only_a_name(self, client: FlaskClient, written: str, kept: str) -> None:
        part = self.FILE.replace(b"a.txt", written.encode())
        shape = self.post(client, part + self.PURPOSE + b"--b--").get_json()

        assert shape["filename"] == kept
        assert client.get(f"/v1/files/{shape['id']}/content", headers=ALICE).data == b"hi"

    @pytest.mark.parametrize(
        "parts",
        [
            _part('name="x"', b"1") * 40,
            b"--b\r\nX: " + b"y" * 200_000 + b"\r\n\r\n1\r\n",
            b"--b\r\n" + b"X: y\r\n" * 40_000,
            b"no boundary " * 20_000,
        ],
    )
    def test_many_parts_and_large_headers_are_refused(self, client: FlaskClient, parts: bytes) -> None:
        assert_openai_error(self.post(client, parts + self.FILE + self.PURPOSE + b"--b--"), 400, None)

    def test_fields_that_are_too_large_are_refused(self, client: FlaskClient) -> None:
        body = self.PURPOSE.replace(b"vision", b"v" * 100_000) + self.FILE + b"--b--"

        assert_openai_error(self.post(client, body), 413, "request_too_large")

    @pytest.mark.parametrize("missing", [3, 10, 60, 100])
    def test_a_length_that_is_too_short_leaves_nothing(self, client: FlaskClient, missing: int) -> None:
        body = self.FILE + self.PURPOSE + b"--b--"

        assert_openai_error(self.post(client, body, length=len(body) - missing), 400, None)
        assert client.get("/v1/files", headers=ALICE).get_json()["data"] == []

    def test_what_looks_like_a_border_is_content(self, client: FlaskClient) -> None:
        content = b"\r\n--bb\r\n--\r\n--c--\n\r\n" * 50
        file_id = uploaded(client, content)

        assert client.get(f"/v1/files/{file_id}/content", headers=ALICE).data == content


def test_a_store_that_is_away_is_a_503(tmp_path: object) -> None:
    with client_of(FILE_STORE_URL="file:////proc/nowhere") as client:
        refused = upload(client)

    assert_openai_error(refused, 503, "file_storage_unavailable")
    assert refused.headers["Retry-After"]
