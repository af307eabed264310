"""An app's files as links in the answer's text: images are shown, others named."""

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Final
from urllib.parse import quote, urljoin, urlsplit

from opendify.translate.turn import AnswerFile, ReplyEvent, TextDelta

Publish = Callable[[AnswerFile], AnswerFile]
"""Gives a file the URL under which the client can read it."""

# What a URL may hold as it is, but for what would end it in Markdown.
_PLAIN_IN_URLS: Final = "/:?#[]@!$&*+,;=%~"
_BREAK: Final = "\n\n"
_BREAKS_NAMES: Final = re.compile(r"[\[\]\\<>\s]+")


class FileLinks:
    """Puts the link behind each file that the text does not show already."""

    heeds = (AnswerFile,)
    lets_pass = None

    def __init__(self, publish: Publish) -> None:
        self._publish = publish

    def feed(self, event: ReplyEvent) -> Iterator[ReplyEvent]:
        """See `ReplyFilter.feed`."""
        if not isinstance(event, AnswerFile):
            yield event
            return
        file = self._publish(event)
        if not _is_web_address(file.url):
            return
        yield file
        if not file.is_shown:
            before = _BREAK if file.follows_text else ""
            after = _BREAK if file.precedes_text else ""
            yield TextDelta(f"{before}{markdown_link(file)}{after}")


def as_it_is(file: AnswerFile) -> AnswerFile:
    """For URLs that need nothing."""
    return file


def published_at(base: str) -> Publish:
    """Relative URLs begin at `base`, the address of Dify's API; others stay as they are."""

    def publish(file: AnswerFile) -> AnswerFile:
        try:
            return replace(file, url=urljoin(base, file.url))
        except ValueError:
            return replace(file, url="")

    return publish


def markdown_link(file: AnswerFile) -> str:
    """`![name](url)` for an image, `[name](url)` for others."""
    name = _BREAKS_NAMES.sub(" ", file.filename).strip() or "file"
    mark = "!" if file.type == "image" else ""
    return f"{mark}[{name}]({quote(file.url, safe=_PLAIN_IN_URLS, errors='replace')})"


def _is_web_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme in {"http", "https"} and bool(parts.netloc)
