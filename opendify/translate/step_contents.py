"""What of a tool's input, or of anybody's output, people may see: short, no secrets, no bytes of files."""

import json
import re
from collections.abc import Mapping

from opendify.wire.sse import encode_json

MAX_CONTENT_CHARS = 500
MAX_NAME_CHARS = 100
_MAX_READ_CHARS = 100_000

_SECRET_NAME = re.compile(
    r"pass(?:word|wd|phrase)?$|secret|token$|api.?key|authoriz|auth$|cookie|credential|private.?key|signature",
    re.IGNORECASE,
)
_REDACTIONS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"data:[\w.+-]+/[\w.+-]+(?:;[\w=.-]+)*,[\w+/=%-]*", re.I), "<data>"),
    # No word is so long; a digest in hex or an id is shorter.
    (re.compile(r"[A-Za-z0-9+/_-]{100,}={0,2}"), "<data>"),
    # Signatures stand behind the question mark.
    (re.compile(r"(\bhttps?://[^\s?'\"<>)\]}]+)\?[^\s'\"<>)\]}]*", re.I), r"\1?…"),
    (re.compile(r"\b(https?://)[^\s/@'\"]+@", re.I), r"\1"),
    (
        re.compile(
            r"\b(?:sk|pk|rk|gsk|hf|xai|app|dataset|key|ghp|xox[a-z])[-_](?=[\w*-]*[A-Z0-9*])[\w*-]{6,}"
        ),
        "<key>",
    ),
    (re.compile(r"\bAIza[\w-]{20,}"), "<key>"),
    (re.compile(r"\beyJ[\w-]{10,}\.[\w-]+\.[\w-]*"), "<key>"),
    (re.compile(r"\b(bearer|basic)\s+[\w.~+/=-]{8,}", re.I), r"\1 <key>"),
    (re.compile(r"\s+"), " "),
)


def shown_content(content: object, name: str = "") -> str:
    """One line of at most `MAX_CONTENT_CHARS`.

    `content` is JSON, or a text that may hold it. An agent's tools wrap what they tell as
    `{name: …}`, which is taken off.
    """
    content = _parsed(content)
    if isinstance(content, dict) and name and name in content:
        content = _parsed(content[name])
    try:
        content = _without_secrets(content)
        text = content if isinstance(content, str) else encode_json(content).decode()
    except RecursionError:
        return "…"
    return _shortened(text)


def shown_name(name: str) -> str:
    """A name on one line, of at most `MAX_NAME_CHARS`."""
    name = " ".join(name.split())
    return name if len(name) <= MAX_NAME_CHARS else name[: MAX_NAME_CHARS - 1] + "…"


def _parsed(content: object) -> object:
    if not isinstance(content, str) or not content.lstrip().startswith(("{", "[")):
        return content
    try:
        parsed: object = json.loads(content[:_MAX_READ_CHARS])
    except (ValueError, RecursionError):
        return content
    return parsed


def _without_secrets(content: object) -> object:
    match content:
        case Mapping():
            return {
                name: "<secret>" if value and _SECRET_NAME.search(str(name)) else _without_secrets(value)
                for name, value in content.items()
            }
        case list():
            return [_without_secrets(element) for element in content]
    return content


def _shortened(text: str) -> str:
    text = text[:_MAX_READ_CHARS]
    for pattern, replacement in _REDACTIONS:
        text = pattern.sub(replacement, text)
    text = text.strip()
    return text if len(text) <= MAX_CONTENT_CHARS else text[: MAX_CONTENT_CHARS - 1] + "…"
