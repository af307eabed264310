"""Dify's side of a stream, written as JSON events; our side, read back."""

import json
from collections.abc import Iterable
from typing import Any

Shape = dict[str, Any]  # JSON as it comes; tests look into it.

PING = b"event: ping\n\n"
IDS = {"task_id": "task-1", "message_id": "message-1", "conversation_id": "conversation-1"}


def event(name: str, **fields: object) -> bytes:
    """One event with the usual ids."""
    return b"data: " + json.dumps({"event": name, **IDS, **fields}).encode() + b"\n\n"


def message(text: str) -> bytes:
    """A piece of a chat app's answer."""
    return event("message", answer=text)


END = event(
    "message_end", metadata={"usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}}
)
WHOLE = message("Hel") + message("lo") + END


def read_frames(pieces: Iterable[bytes]) -> list[Shape | str]:
    """Each `data:` line's JSON, `[DONE]` and comments as they are; any other line fails."""
    frames: list[Shape | str] = []
    for block in b"".join(pieces).decode().removesuffix("\n\n").split("\n\n"):
        if block.startswith(":"):
            frames.append(block)
            continue
        assert block.startswith("data: "), block
        payload = block.removeprefix("data: ")
        frames.append(payload if payload == "[DONE]" else json.loads(payload))
    return frames


def text_of(frames: Iterable[Shape | str]) -> str:
    """The answer's text."""
    choices = [frame["choices"] for frame in frames if isinstance(frame, dict) and frame.get("choices")]
    return "".join(each["delta"].get("content") or "" for (each,) in choices)
