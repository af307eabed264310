"""Names of files as somebody else writes them → names that do no harm."""

import mimetypes
import re
from typing import Final

_NAMELESS: Final = "file"
_MOST_CHARACTERS: Final = 255
# C0 and C1 controls, what turns the direction of text, and halves of characters.
_HARMFUL: Final = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_MIME_TYPE: Final = re.compile(r"[a-z0-9][a-z0-9!#$&^_.+-]{0,63}/[a-z0-9][a-z0-9!#$&^_.+-]{0,127}")
_ANYTHING: Final = "application/octet-stream"


def plain_file_name(name: str) -> str:
    """`name` without a path and without control characters; never empty, `.` or `..`, or too long.

    Where it must be shortened, its ending stays.
    """
    last = re.split(r"[/\\]", _HARMFUL.sub("", name).strip().rstrip("/\\"))[-1].strip()
    if last in ("", ".", ".."):
        return _NAMELESS
    stem, dot, ending = last.rpartition(".")
    if len(last) <= _MOST_CHARACTERS or not dot or len(ending) > 20:
        return last[:_MOST_CHARACTERS]
    return f"{stem[: _MOST_CHARACTERS - len(ending) - 1]}.{ending}"


def mime_type_of(said: str | None, filename: str) -> str:
    """The type that whoever brings a file says, or else the one that its name tells; in lower case."""
    plain = (said or "").partition(";")[0].strip().lower()
    if plain != _ANYTHING and _MIME_TYPE.fullmatch(plain):
        return plain
    return mimetypes.guess_type(filename, strict=False)[0] or _ANYTHING
