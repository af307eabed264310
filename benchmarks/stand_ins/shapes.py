"""What both stand-ins know of the two formats: as much as is needed to pass text on."""

import json
import os
import time
import uuid
from typing import Any

DIFY_URL = os.environ.get("STAND_IN_DIFY_URL", "http://127.0.0.1:5001/v1") + "/chat-messages"
DIFY_HEADERS = {"Authorization": f"Bearer {os.environ.get('STAND_IN_APP_KEY', '')}"}
OWN_KEY = os.environ.get("STAND_IN_KEY", "")


def dify_body(request: dict[str, Any], mode: str) -> dict[str, Any]:
    """What Dify is asked: the last message."""
    return {
        "inputs": {},
        "query": request["messages"][-1]["content"],
        "response_mode": mode,
        "user": request.get("user", "user"),
    }


def chunk_of(line: str, model: str, chat_id: str) -> str | None:
    """What a line of Dify's stream becomes."""
    if not line.startswith("data: "):
        return None
    event = json.loads(line[6:])
    if event["event"] in ("message", "agent_message"):
        return _frame(model, chat_id, {"content": event["answer"]}, None)
    if event["event"] == "message_end":
        return _frame(model, chat_id, {}, "stop") + "data: [DONE]\n\n"
    return None


def completion_of(answer: dict[str, Any], model: str) -> dict[str, Any]:
    """The whole answer."""
    message = {"role": "assistant", "content": answer["answer"]}
    return {
        "id": new_id(),
        "object": "chat.completion",
        "created": int(time.time()),
        "model": model,
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": answer["metadata"]["usage"],
    }


def new_id() -> str:
    """A chat's."""
    return f"chatcmpl-{uuid.uuid4()}"


def _frame(model: str, chat_id: str, delta: dict[str, Any], finish_reason: str | None) -> str:
    chunk = {
        "id": chat_id,
        "object": "chat.completion.chunk",
        "created": int(time.time()),
        "model": model,
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}],
    }
    return f"data: {json.dumps(chunk)}\n\n"
