"""A file is what its bytes say; one that claims to be something else is refused."""

import pytest

from opendify.attachments.inspection import image_size, inspect
from opendify.attachments.local_files import LocalFile, inline_file
from opendify.errors import RequestTooLarge, UnsupportedMedia
from opendify.translate.turn import Attachment, AttachmentType
from tests.fakes.files import JPEG, MP3, MP4, PDF, PNG, WAV, gif, png, webp

PARAM = "messages[0].content[0]"
EXE = b"MZ\x90\0" + bytes(60)


def look_at(
    content: bytes, mime_type: str = "", filename: str = "file", type_: AttachmentType = "document"
) -> LocalFile:
    attachment = Attachment(type_, filename, mime_type, PARAM, content=content)
    return inspect(inline_file(attachment, content), most_pixels=1_000_000)


@pytest.mark.parametrize(
    ("content", "mime_type", "filename", "type_", "found"),
    [
        (PNG, "image/png", "a.png", "image", ("image", "image/png", "a.png")),
        (PNG, "image/png", "image", "image", ("image", "image/png", "image.png")),
        (JPEG, "image/png", "a.png", "image", ("image", "image/jpeg", "a.jpg")),
        (JPEG, "image/jpg", "a.jpeg", "image", ("image", "image/jpeg", "a.jpeg")),
        (webp(3, 4), "image/webp", "a.webp", "image", ("image", "image/webp", "a.webp")),
        (b"<svg/>", "image/svg+xml", "a.svg", "image", ("image", "image/svg+xml", "a.svg")),
        (PDF, "application/pdf", "paper", "document", ("document", "application/pdf", "paper.pdf")),
        (PDF, "application/pdf", "paper.png", "document", ("document", "application/pdf", "paper.pdf")),
        (b"# Hi", "text/markdown", "a.md", "document", ("document", "text/markdown", "a.md")),
        (b"PK\3\4..", "application/msword", "a.doc", "document", ("document", "application/msword", "a.doc")),
        (MP3, "audio/mp3", "audio.mp3", "audio", ("audio", "audio/mp3", "audio.mp3")),
        (MP3, "audio/wav", "audio.wav", "audio", ("audio", "audio/mpeg", "audio.mp3")),
        (WAV, "audio/wav", "audio.wav", "audio", ("audio", "audio/wav", "audio.wav")),
        (b"?", "audio/wav", "audio.wav", "audio", ("audio", "audio/wav", "audio.wav")),
        (MP4, "audio/mp4", "audio.m4a", "audio", ("audio", "audio/mp4", "audio.m4a")),
        (MP4, "video/mp4", "video", "video", ("video", "video/mp4", "video.mp4")),
    ],
)
def test_a_file_that_is_what_it_says_gets_a_name_that_says_so_too(
    content: bytes, mime_type: str, filename: str, type_: AttachmentType, found: tuple[str, str, str]
) -> None:
    file = look_at(content, mime_type, filename, type_)

    assert (file.type, file.mime_type, file.filename) == found


@pytest.mark.parametrize(
    ("content", "type_", "found"),
    [
        (PNG, "document", ("image", "image/png", "file.png")),
        (PDF, "image", ("document", "application/pdf", "file.pdf")),
        (MP3, "document", ("audio", "audio/mpeg", "file.mp3")),
        (MP4, "document", ("video", "video/mp4", "file.mp4")),
        ("Grüße".encode(), "image", ("document", "text/plain", "file.txt")),
        (b"\0\1\2", "document", ("document", "application/octet-stream", "file.bin")),
    ],
)
def test_a_file_that_tells_no_type_is_told_by_its_bytes(
    content: bytes, type_: AttachmentType, found: tuple[str, str, str]
) -> None:
    file = look_at(content, type_=type_)

    assert (file.type, file.mime_type, file.filename) == found


def test_an_image_that_tells_no_type_and_is_none_is_refused() -> None:
    with pytest.raises(UnsupportedMedia) as caught:
        look_at(b"\0\1\2", type_="image")

    assert (caught.value.status, caught.value.param) == (415, PARAM)


@pytest.mark.parametrize(
    ("content", "mime_type", "type_"),
    [
        (EXE, "image/png", "image"),
        (PDF, "image/png", "image"),
        (b"hi", "image/png", "image"),
        (b"<html></html>", "image/svg+xml", "image"),
        (PNG, "audio/mpeg", "audio"),
        (EXE, "audio/wav", "audio"),
        (PNG, "video/mp4", "video"),
        (MP3, "video/mp4", "video"),
        (PNG, "application/pdf", "document"),
        (EXE, "application/pdf", "document"),
        (b"hi", "application/pdf", "document"),
        (MP4, "text/plain", "document"),
    ],
)
def test_a_lying_media_type_is_refused(content: bytes, mime_type: str, type_: AttachmentType) -> None:
    with pytest.raises(UnsupportedMedia) as caught:
        look_at(content, mime_type, type_=type_)

    assert (caught.value.status, caught.value.code, caught.value.param) == (415, "invalid_file_type", PARAM)
    assert mime_type in caught.value.message


@pytest.mark.parametrize(
    "bomb",
    [png(60_000, 60_000), webp(16_000, 16_000), gif(65_535, 65_535), gif(40_000, 40_000)],
    ids=["PNG", "WebP", "GIF", "GIF whose sides the library takes for negative"],
)
def test_an_image_that_claims_to_be_huge_is_refused_unopened(bomb: bytes) -> None:
    with pytest.raises(RequestTooLarge) as caught:
        look_at(bomb, type_="image")

    assert len(bomb) < 100
    assert (caught.value.status, caught.value.code, caught.value.param) == (413, "image_too_large", PARAM)
    assert "1000000" in caught.value.message


def test_an_image_may_not_hide_its_size() -> None:
    comments = (b"\xff\xfe\xff\xff" + bytes(0xFFFD)) * 20

    with pytest.raises(UnsupportedMedia, match="does not tell its size"):
        look_at(JPEG[:20] + comments + JPEG[20:], "image/jpeg", "a.jpg", "image")


@pytest.mark.parametrize(("content", "size"), [(png(7, 9), (7, 9)), (webp(8, 3), (8, 3)), (JPEG, (1, 1))])
def test_sizes_are_read_from_headers(content: bytes, size: tuple[int, int]) -> None:
    assert image_size(content) == size


@pytest.mark.parametrize("content", [b"", PNG[:8], PNG[:12], JPEG[:8], b"GIF89a", MP4[:4] + b"ftypavif"])
def test_a_broken_image_has_no_size(content: bytes) -> None:
    assert image_size(content) == (0, 0)
