"""Uploads and the links to them."""

from __future__ import annotations

import io

import pytest

from tests.simulator.asking import Asker, bearer

VISION = "app-demo-chat-vision"


def upload(asker: Asker, content: bytes, name: str = "a.png", mime_type: str = "image/png") -> dict[str, str]:
    data = {"user": asker.user, "file": (io.BytesIO(content), name, mime_type)}
    row: dict[str, str] = asker.client.post("/v1/files/upload", data=data, headers=bearer(VISION)).get_json()
    return row


def local_file(upload_id: str) -> dict[str, str]:
    return {"type": "image", "transfer_method": "local_file", "upload_file_id": upload_id}


def test_an_upload_can_be_read_once_a_message_used_it() -> None:
    asker = Asker()
    upload_id = upload(asker, b"png")["id"]
    before = asker.get(VISION, f"/v1/files/{upload_id}/preview")
    asker.ask(VISION, "Look", files=[local_file(upload_id)])

    after = asker.get(VISION, f"/v1/files/{upload_id}/preview")

    assert (before.status_code, before.get_json()["code"]) == (404, "file_not_found")
    assert (after.get_data(), after.mimetype) == (b"png", "image/png")


def test_links_to_uploads_lead_to_their_bytes() -> None:
    asker = Asker(files_url="http://dify.test")
    link = upload(asker, b"png")["source_url"]

    assert link.startswith("http://dify.test/files/")
    assert asker.client.get(link.removeprefix("http://dify.test")).get_data() == b"png"


def test_links_to_pictures_lead_to_a_picture() -> None:
    asker = Asker(files_url="http://dify.test")
    events = asker.stream("app-demo-chat", "FILE")
    link = next(event["url"] for event in events if event["event"] == "message_file")

    assert asker.client.get(link.removeprefix("http://dify.test")).get_data().startswith(b"\x89PNG")


@pytest.mark.parametrize(("name", "limit"), [("a.png", 10), ("a.pdf", 15), ("a.mp3", 20), ("a.mp4", 25)])
def test_an_upload_over_its_kinds_limit_is_refused(name: str, limit: int) -> None:
    asker = Asker(max_image_bytes=10, max_upload_bytes=15, max_audio_bytes=20, max_video_bytes=25)

    assert "id" in upload(asker, b"x" * limit, name)
    assert upload(asker, b"x" * (limit + 1), name) == {
        "code": "file_too_large",
        "message": "File size exceeded. {message}",
        "status": 413,
    }


def test_the_model_counts_the_images_of_earlier_turns_apart() -> None:
    asker = Asker()
    file = local_file(upload(asker, b"png")["id"])
    first = asker.ask(VISION, "See this", files=[file])

    second = asker.ask(VISION, "And now?", conversation_id=first["conversation_id"])

    assert second["answer"] == "ECHO prior=2 images=0 all_images=1 :: And now?"


def test_files_for_an_app_without_upload_are_dropped() -> None:
    asker = Asker()
    file = local_file(upload(asker, b"png")["id"])

    assert asker.ask("app-demo-chat", "Look", files=[file])["answer"].startswith("ECHO prior=0 images=0")


def test_a_data_url_fails_after_its_retries() -> None:
    asker = Asker()
    before = asker.now
    file = {"type": "image", "transfer_method": "remote_url", "url": "data:image/png;base64,aGk="}

    answer = asker.run(VISION, "Look", files=[file])

    assert answer.status_code == 400
    assert answer.get_json()["message"].startswith("Reached maximum retries (3) for URL data:")
    assert asker.now - before == pytest.approx(1.3 + 3.5)


@pytest.mark.parametrize(("key", "kind"), [(VISION, "image files"), ("app-demo-advanced-chat", "files")])
def test_a_file_too_many_is_refused_in_the_words_of_the_app_s_kind(key: str, kind: str) -> None:
    asker = Asker()
    file = local_file(upload(asker, b"png")["id"])

    answer = asker.run(key, "Look", files=[file] * 4)

    assert answer.status_code == 400
    assert answer.get_json()["message"] == f"Number of {kind} exceeds the maximum limit 3"
