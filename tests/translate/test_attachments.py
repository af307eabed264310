import pytest
from pydantic import TypeAdapter

from opendify.errors import InvalidRequest
from opendify.translate.attachments import attachment_name, read_attachment
from opendify.translate.turn import Attachment
from opendify.wire.openai_chat import ContentPart

HI = "aGk="
P = "messages[0].content[0]"


def part(**fields: object) -> ContentPart:
    read: ContentPart = TypeAdapter[ContentPart](ContentPart).validate_python(fields)
    return read


def image(url: str) -> ContentPart:
    return part(type="image_url", image_url={"url": url})


def file(**source: object) -> ContentPart:
    return part(type="file", file=source)


@pytest.mark.parametrize(
    ("content_part", "attachment"),
    [
        pytest.param(
            image("https://x.example/a.png?sig=1#x"),
            Attachment(
                "image", "a.png", "image/png", f"{P}.image_url", url="https://x.example/a.png?sig=1#x"
            ),
            id="an image's URL",
        ),
        pytest.param(
            image("https://x.example"),
            Attachment("image", "image", "", f"{P}.image_url", url="https://x.example"),
            id="a URL without a name",
        ),
        pytest.param(
            image(f"data:image/png;base64,{HI}"),
            Attachment("image", "image.png", "image/png", f"{P}.image_url", content=b"hi"),
            id="an image inline",
        ),
        pytest.param(
            image(f"data:audio/mpeg;base64,{HI}"),
            Attachment("audio", "audio.mp3", "audio/mpeg", f"{P}.image_url", content=b"hi"),
            id="audio called an image",
        ),
        pytest.param(
            image(f"data:video/mp4;base64,{HI}"),
            Attachment("video", "video.mp4", "video/mp4", f"{P}.image_url", content=b"hi"),
            id="video called an image",
        ),
        pytest.param(
            image(f"data:application/pdf;base64,{HI}"),
            Attachment("document", "document.pdf", "application/pdf", f"{P}.image_url", content=b"hi"),
            id="a document called an image",
        ),
        pytest.param(
            image("https://x.example/a.mp4"),
            Attachment("video", "a.mp4", "video/mp4", f"{P}.image_url", url="https://x.example/a.mp4"),
            id="a video's URL called an image",
        ),
        pytest.param(
            image("data:text/plain;charset=utf-8,Hi%20there"),
            Attachment("document", "document.txt", "text/plain", f"{P}.image_url", content=b"Hi there"),
            id="percent signs instead of base64",
        ),
        pytest.param(
            image(f"data:image/png;base64,{HI.replace('=', '%3D')}"),
            Attachment("image", "image.png", "image/png", f"{P}.image_url", content=b"hi"),
            id="base64 with percent signs",
        ),
        pytest.param(
            image(f"data:IMAGE/PNG;base64,{HI}"),
            Attachment("image", "image.png", "image/png", f"{P}.image_url", content=b"hi"),
            id="a media type in capitals",
        ),
        pytest.param(
            part(type="input_image", image_url="https://x.example/a.png"),
            Attachment("image", "a.png", "image/png", f"{P}.image_url", url="https://x.example/a.png"),
            id="an image of the Responses API",
        ),
        pytest.param(
            part(type="input_image", image_url=None, file_id="file-1"),
            Attachment("image", "", "", f"{P}.file_id", file_id="file-1"),
            id="such an image that was uploaded",
        ),
        pytest.param(
            part(type="input_audio", input_audio={"data": HI, "format": "mp3"}),
            Attachment("audio", "audio.mp3", "audio/mp3", P, content=b"hi"),
            id="recorded speech",
        ),
        pytest.param(
            file(file_data=f"data:application/pdf;base64,{HI}", filename="a.pdf"),
            Attachment("document", "a.pdf", "application/pdf", f"{P}.file.file_data", content=b"hi"),
            id="a file inline",
        ),
        pytest.param(
            file(file_data=f"data:image/png;base64,{HI}", filename="a.png"),
            Attachment("image", "a.png", "image/png", f"{P}.file.file_data", content=b"hi"),
            id="an image called a file",
        ),
        pytest.param(
            file(file_data=HI, filename="a.md"),
            Attachment("document", "a.md", "text/markdown", f"{P}.file", content=b"hi"),
            id="a file as bare base64",
        ),
        pytest.param(
            file(file_data=HI),
            Attachment("document", "file", "", f"{P}.file", content=b"hi"),
            id="a file without a name",
        ),
        pytest.param(
            part(type="input_file", file_url="https://x.example/a.pdf", filename="b.pdf"),
            Attachment(
                "document", "b.pdf", "application/pdf", f"{P}.file_url", url="https://x.example/a.pdf"
            ),
            id="a file of the Responses API",
        ),
        pytest.param(
            part(type="input_file", file_data=HI, filename="b.pdf"),
            Attachment("document", "b.pdf", "application/pdf", P, content=b"hi"),
            id="a file of the Responses API, inline",
        ),
        pytest.param(
            image(f"data:;base64,{HI}"),
            Attachment("image", "image", "", f"{P}.image_url", content=b"hi"),
            id="a data: URI that tells no type",
        ),
        pytest.param(
            file(file_id="file-1"),
            Attachment("document", "", "", f"{P}.file.file_id", file_id="file-1"),
            id="a file that was stored before",
        ),
        pytest.param(
            image("https://x.example/%2e%2e%2fa%0d%0a.png#/b.gif"),
            Attachment(
                "image",
                "a.png",
                "image/png",
                f"{P}.image_url",
                url="https://x.example/%2e%2e%2fa%0d%0a.png#/b.gif",
            ),
            id="a URL whose name is a path",
        ),
        pytest.param(part(type="text", text="Hi"), None, id="text"),
        pytest.param(part(type="refusal", refusal="No."), None, id="a refusal"),
    ],
)
def test_the_media_type_decides_what_a_file_is(
    content_part: ContentPart, attachment: Attachment | None
) -> None:
    assert read_attachment(content_part, P) == attachment


@pytest.mark.parametrize(
    ("content_part", "param", "code"),
    [
        pytest.param(image("data:image/png;base64"), f"{P}.image_url", "invalid_value", id="no comma"),
        pytest.param(image("data:image/png;base64,%%%"), f"{P}.image_url", "invalid_value", id="no base64"),
        pytest.param(image("data:image/png;base64,"), f"{P}.image_url", "invalid_value", id="empty"),
        pytest.param(
            image("data:image/png;base64,abc"), f"{P}.image_url", "invalid_value", id="wrong padding"
        ),
        pytest.param(image(HI), f"{P}.image_url", "invalid_value", id="bare base64 as a URL"),
        pytest.param(image("file:///etc/passwd"), f"{P}.image_url", "invalid_value", id="a local file"),
        pytest.param(image("https://"), f"{P}.image_url", "invalid_value", id="a URL without a host"),
        pytest.param(image(""), f"{P}.image_url", "invalid_value", id="an empty URL"),
        pytest.param(
            part(type="input_audio", input_audio={"data": "?"}),
            f"{P}.input_audio.data",
            "invalid_value",
            id="audio that is no base64",
        ),
        pytest.param(
            file(file_data="?"), f"{P}.file.file_data", "invalid_value", id="a file that is no base64"
        ),
        pytest.param(image("data:image/png,"), f"{P}.image_url", "invalid_value", id="an empty file"),
        pytest.param(
            file(file_data=HI, filename="../../etc/passwd"),
            f"{P}.file.filename",
            "invalid_value",
            id="a path as a name",
        ),
        pytest.param(
            file(file_data=HI, filename="..\\a.txt"),
            f"{P}.file.filename",
            "invalid_value",
            id="a path of Windows",
        ),
        pytest.param(
            file(file_data=HI, filename="a\r\nX-Evil: 1.txt"),
            f"{P}.file.filename",
            "invalid_value",
            id="line ends in a name",
        ),
        pytest.param(
            file(file_data=HI, filename="a\u202egnp.exe"),
            f"{P}.file.filename",
            "invalid_value",
            id="a name that turns around",
        ),
        pytest.param(
            file(file_data=HI, filename="a" * 201),
            f"{P}.file.filename",
            "invalid_value",
            id="an endless name",
        ),
        pytest.param(
            file(filename="a.txt"), f"{P}.file", "missing_required_parameter", id="a file's name alone"
        ),
        pytest.param(
            part(type="input_image", detail="auto"), P, "missing_required_parameter", id="no image at all"
        ),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_by_its_place(
    content_part: ContentPart, param: str, code: str
) -> None:
    with pytest.raises(InvalidRequest) as caught:
        read_attachment(content_part, P)

    assert (caught.value.status, caught.value.param, caught.value.code) == (400, param, code)
    assert param in caught.value.message


@pytest.mark.parametrize(
    ("content_part", "name"),
    [
        pytest.param(image("https://x.example/dir/a%20b.png?sig=1"), "a b.png", id="a URL's last part"),
        pytest.param(image("https://x.example/"), "image", id="a URL without a name"),
        pytest.param(image(f"data:image/png;base64,{HI}"), "image", id="inline"),
        pytest.param(image("nonsense"), "image", id="not readable"),
        pytest.param(file(filename="a.txt"), "a.txt", id="a file's name"),
        pytest.param(file(file_url="https://x.example/a.txt"), "a.txt", id="a file's URL"),
        pytest.param(file(file_id="file-1"), "file", id="a file's id"),
        pytest.param(part(type="input_file", filename="a.txt"), "a.txt", id="a file of the Responses API"),
        pytest.param(part(type="input_image", file_id="file-1"), "image", id="an image that was uploaded"),
        pytest.param(part(type="input_file"), "file", id="such a file without a name"),
        pytest.param(part(type="input_audio", input_audio={"data": "?"}), "audio", id="audio"),
    ],
)
def test_an_earlier_file_has_a_name(content_part: ContentPart, name: str) -> None:
    assert attachment_name(content_part) == name
