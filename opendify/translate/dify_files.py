"""Dify's file objects, in the forms of all versions → `AnswerFile`s, each once in a stream.

The same file comes in several events, each time with another signature in its URL,
so that the URL's path is what it is known by. Chatflows print most files into their
answer themselves.
"""

from collections.abc import Iterator, Mapping
from typing import Final, TypeGuard
from urllib.parse import unquote, urlsplit

from opendify.translate.turn import AnswerFile
from opendify.wire import dify

_TYPES: Final = frozenset({"image", "document", "audio", "video"})
_MOST_FILES: Final = 100
_DEEPEST: Final = 4


class AnswerFiles:
    """The files of one stream."""

    def __init__(self) -> None:
        self._known: set[str] = set()

    def read_event(self, event: dify.MessageFile) -> Iterator[AnswerFile]:
        """A `message_file`'s file, unless it is the person's own."""
        if event.url and event.belongs_to != "user":
            yield from self._new({"url": event.url, "type": event.type}, "")

    def read_made(self, files: object) -> Iterator[AnswerFile]:
        """Those of a chat's or an agent's `message_end` that tools made: the person's own are there too."""
        for file in _file_objects(files):
            if file.get("transfer_method") == "tool_file":
                yield from self._new(file, "")

    def read_all(self, files: object, answer: str) -> Iterator[AnswerFile]:
        """All file objects anywhere in `files`; `answer` is the text in which some may stand already."""
        for file in _file_objects(files):
            yield from self._new(file, answer)

    def _new(self, file: Mapping[str, object], answer: str) -> Iterator[AnswerFile]:
        url = _text(file.get("url")) or _text(file.get("remote_url"))
        path = _path(url)
        if not path or path in self._known or len(self._known) >= _MOST_FILES:
            return
        self._known.add(path)
        kind, size = _text(file.get("type")), file.get("size")
        yield AnswerFile(
            url=url,
            filename=_text(file.get("filename")) or unquote(path.rpartition("/")[2]) or "file",
            type=kind if kind in _TYPES else "custom",
            mime_type=_text(file.get("mime_type")) or None,
            size=size if isinstance(size, int) and size >= 0 else None,
            is_shown=path in answer,
        )


def holds_files_only(outputs: Mapping[str, object]) -> bool:
    """Whether every output is a file, or a list of files."""
    return bool(outputs) and all(_is_file(each) or _is_list_of_files(each) for each in outputs.values())


def _is_list_of_files(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(map(_is_file, value))


def _file_objects(value: object, depth: int = 0) -> Iterator[Mapping[str, object]]:
    if _is_file(value):
        yield value
    elif depth < _DEEPEST and isinstance(value, list | dict):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _file_objects(each, depth + 1)


def _is_file(value: object) -> TypeGuard[dict[str, object]]:
    return (
        isinstance(value, dict)
        and isinstance(value.get("transfer_method"), str)
        and bool(_text(value.get("url")) or _text(value.get("remote_url")))
    )


def _path(url: str) -> str:
    try:
        return urlsplit(url).path
    except ValueError:
        return ""


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
