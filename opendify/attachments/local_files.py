"""Files on their way to an app: at hand here, or at a URL where Dify gets them itself."""

import hashlib
import io
from collections.abc import Callable
from dataclasses import dataclass, field

from opendify.dify.uploads import Content
from opendify.translate.turn import Attachment, AttachmentType


@dataclass(frozen=True, slots=True)
class LocalFile:
    """A file whose bytes are at hand; `open` gives them from the start, as often as they are needed.

    `type` is Dify's; `sha256` is in hexadecimal; `param` is where the request holds the file.
    """

    type: AttachmentType
    filename: str
    mime_type: str
    param: str
    bytes: int
    sha256: str
    open: Callable[[], Content] = field(repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file that Dify fetches; nothing is known of it but what its URL and the request say."""

    type: AttachmentType
    filename: str
    param: str
    url: str = field(repr=False)


ReadyFile = LocalFile | RemoteFile


def inline_file(attachment: Attachment, content: bytes) -> LocalFile:
    """A file that the request holds."""
    return LocalFile(
        attachment.type,
        attachment.filename,
        attachment.mime_type,
        attachment.param,
        len(content),
        hashlib.sha256(content).hexdigest(),
        lambda: io.BytesIO(content),
    )
