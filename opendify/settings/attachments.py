"""How files that come with requests are handled."""

from dataclasses import dataclass
from typing import Final, Literal, get_args

from opendify.configuration import readers as read
from opendify.configuration.fields import setting

# ruff: noqa: RUF009 - `setting` makes a field, with an immutable default.

PrivateUrls = Literal["pass", "refuse"]

PRIVATE_URLS: Final[tuple[PrivateUrls, ...]] = get_args(PrivateUrls)


@dataclass(frozen=True, kw_only=True)
class AttachmentSettings:
    """Limits on what a request may bring; an app's own limits count besides."""

    most: int = setting(
        "ATTACHMENT_MAX_COUNT",
        read.whole_number(1, 1_000),
        "50",
        "So many files a request may bring in its newest message.",
    )
    most_bytes: int = setting(
        "ATTACHMENT_MAX_BYTES",
        read.whole_number(1, 10 * 1024**3),
        str(100 * 1024**2),
        "The largest file in bytes that is fetched, or handed to an app that tells no limit.",
    )
    most_pixels: int = setting(
        "ATTACHMENT_MAX_PIXELS",
        read.whole_number(1, 10**12),
        "178956970",
        "The most pixels that an image may claim to have, so that none explodes where it is opened.",
    )
    fetch_seconds: float = setting(
        "ATTACHMENT_FETCH_TIMEOUT",
        read.seconds(0.1, 600),
        "20",
        'Seconds in which a file must have been fetched, for models with `"files": "fetch"`.',
    )
    private_urls: PrivateUrls = setting(
        "ATTACHMENT_PRIVATE_URLS",
        read.one_of(PRIVATE_URLS),
        "refuse",
        "Whether URLs of files that plainly lead into a private network are passed on to Dify: `pass` or "
        "`refuse`. What is fetched here is never fetched from there.",
    )
    remember_seconds: float = setting(
        "UPLOAD_MEMORY_SECONDS",
        read.seconds(0, 86_400 * 30),
        "14400",
        "Seconds for which a file that Dify was given is not given to the same app and user again; it is "
        "remembered where answers are kept (`ANSWER_STORE`), else in each worker.",
    )
