"""What the official `openai` package sends as files, and what a Dify that checks them gets."""

import base64
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import openai
import pytest

from tests.fakes.files import MP3, PDF, PNG
from tests.sdk.stand import Stand

if TYPE_CHECKING:
    from openai.types.chat import ChatCompletionContentPartParam


def encoded(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()


def ask(client: openai.OpenAI, model: str, *parts: "ChatCompletionContentPartParam") -> str:
    text: ChatCompletionContentPartParam = {"type": "text", "text": "What is this?"}
    completion = client.chat.completions.create(
        model=model, messages=[{"role": "user", "content": [text, *parts]}]
    )
    return completion.choices[0].message.content or ""


def image(path: Path) -> "ChatCompletionContentPartParam":
    return {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{encoded(path)}"}}


def recording(path: Path) -> "ChatCompletionContentPartParam":
    return {"type": "input_audio", "input_audio": {"data": encoded(path), "format": "mp3"}}


def arrived(stand: Stand) -> list[tuple[object, bytes]]:
    """The newest run's files as Dify has them: type and bytes."""
    files = stand.dify.last_run()["files"]
    assert isinstance(files, list)
    origin = stand.dify.url.removesuffix("/v1")
    return [
        (file["type"], httpx.get(f"{origin}/files/{file['upload_file_id']}/file-preview").content)
        for file in files
    ]


def test_a_local_image_is_seen(client: openai.OpenAI, stand: Stand, tmp_path: Path) -> None:
    picture = tmp_path / "cat.png"
    picture.write_bytes(PNG)

    answer = ask(client, "demo-chatflow", image(picture))

    assert answer == "ECHO prior=0 images=1 :: What is this?"
    assert arrived(stand) == [("image", PNG)]


def test_a_local_pdf_is_a_document(client: openai.OpenAI, stand: Stand, tmp_path: Path) -> None:
    paper = tmp_path / "paper.pdf"
    paper.write_bytes(PDF)
    data = f"data:application/pdf;base64,{encoded(paper)}"

    ask(client, "demo-chatflow", {"type": "file", "file": {"file_data": data, "filename": paper.name}})

    assert arrived(stand) == [("document", PDF)]


def test_a_file_that_was_uploaded_before_is_used_by_its_id(
    client: openai.OpenAI, stand: Stand, tmp_path: Path
) -> None:
    paper = tmp_path / "paper.pdf"
    paper.write_bytes(PDF)
    stored = client.files.create(file=paper, purpose="user_data")

    for _ in range(2):
        ask(client, "demo-chatflow", {"type": "file", "file": {"file_id": stored.id}})

    assert arrived(stand) == [("document", PDF)]


def test_a_recording_is_heard(client: openai.OpenAI, stand: Stand, tmp_path: Path) -> None:
    sound = tmp_path / "hello.mp3"
    sound.write_bytes(MP3)

    ask(client, "demo-chatflow", recording(sound))

    assert arrived(stand) == [("audio", MP3)]


def test_a_sound_for_an_app_that_cannot_listen_is_refused_by_name(
    client: openai.OpenAI, stand: Stand, tmp_path: Path
) -> None:
    sound = tmp_path / "hello.mp3"
    sound.write_bytes(MP3)

    with pytest.raises(openai.APIStatusError) as caught:
        ask(client, "demo-workflow", recording(sound))

    assert (caught.value.status_code, caught.value.code) == (415, "unsupported_media_type")
    assert caught.value.param == "messages[0].content[1]"
    assert stand.dify.count("requests") == 0


def test_a_file_that_dify_lost_is_given_to_it_again(
    client: openai.OpenAI, stand: Stand, tmp_path: Path
) -> None:
    picture = tmp_path / "dog.png"
    picture.write_bytes(PNG + b"dog")
    ask(client, "demo-chatflow", image(picture))
    stand.dify.reset()

    assert ask(client, "demo-chatflow", image(picture)).startswith("ECHO prior=0 images=1")
    assert arrived(stand) == [("image", PNG + b"dog")]
