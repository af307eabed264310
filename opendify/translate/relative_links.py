"""Links to Dify's files in the text that an app itself wrote: made absolute where they have no host.

Dify prints a file as Markdown, and its URL begins at `/files/` where the server does not
know its own address (`FILES_URL`).
"""

from collections.abc import Callable, Iterator
from typing import Final
from urllib.parse import urlsplit

from opendify.translate.turn import ReplyEvent, TextDelta, TextReplaced, lets_none_pass, text_deltas

_START: Final = "](/files/"
_ENDS: Final = ("]", "](")
"""How a text may end before a link that the next one goes on with; a longer part holds what is looked for."""


class RelativeLinks:
    """Puts the server's address in front of such links, wherever they are cut; one object a stream."""

    heeds = (object,)

    def __init__(self, api_base: str) -> None:
        """`api_base` is the URL of Dify's API, which its files share the host with."""
        parts = urlsplit(api_base)
        self._absolute = f"]({parts.scheme}://{parts.netloc}/files/"
        self._held = ""

    def feed(self, event: ReplyEvent) -> Iterator[ReplyEvent]:
        """See `ReplyFilter.feed`."""
        if isinstance(event, TextDelta):
            yield from text_deltas(self._mended(self._held + event.text))
            return
        held, self._held = self._held, ""
        if isinstance(event, TextReplaced):
            yield TextReplaced(event.text.replace(_START, self._absolute))
            return
        yield from text_deltas(held)
        yield event

    @property
    def lets_pass(self) -> Callable[[str], bool]:
        """See `ReplyFilter.lets_pass`."""
        return lets_none_pass if self._held else _begins_no_link

    def _mended(self, text: str) -> str:
        text = text.replace(_START, self._absolute)
        cut = next((size for size in range(len(_START) - 1, 0, -1) if text.endswith(_START[:size])), 0)
        self._held = text[len(text) - cut :]
        return text[: len(text) - cut]


def _begins_no_link(text: str) -> bool:
    return "](/" not in text and not text.endswith(_ENDS)
