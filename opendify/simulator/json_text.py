"""JSON and SSE text, byte for byte in each version's style."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

PING = b"event: ping\n\n"
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


def event_frame(event: Mapping[str, object], *, compact: bool) -> bytes:
    """One SSE frame; `compact` is the raw UTF-8 of 1.8.1 and later."""
    return b"data: " + _event_text(event, compact=compact).encode() + b"\n\n"


def plain_json(body: object) -> str:
    """A body outside of streams: escaped in every version."""
    return json.dumps(body)


def _event_text(event: Mapping[str, object], *, compact: bool) -> str:
    if not compact:
        return json.dumps(event)
    text = json.dumps(event, ensure_ascii=False, separators=(",", ":"))
    # A lone surrogate has no UTF-8 form; it stays an escape.
    return _LONE_SURROGATE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)
