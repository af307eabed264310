# /// script
# requires-python = ">=3.11"
# dependencies = ["litellm==1.106.2"]
# ///
"""Asks a running OpenDify through LiteLLM. Usage: ask_litellm.py BASE_URL API_KEY."""

import json
import os
import sys
from typing import Any

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"

import litellm

base_url, api_key = sys.argv[1:]
place = {"model": "openai/demo-chat", "api_base": base_url, "api_key": api_key, "num_retries": 0}


def _ask(*texts: str, **options: Any) -> Any:
    roles = ("user", "assistant")
    messages = [{"role": roles[number % 2], "content": text} for number, text in enumerate(texts)]
    return litellm.completion(messages=messages, **place, **options)


def _text(answer: Any) -> str:
    return str(answer.choices[0].message.content)


def _failure() -> str:
    try:
        _ask("FAIL500")
    except Exception as error:  # noqa: BLE001 - What kind it is, is what is asked.
        return f"{type(error).__name__} {error}"
    return "no failure"


first = _text(_ask("Hello"))
thinking = _ask("THINK why")
seen = {
    "whole": first,
    "continued": _text(_ask("Hello", first, "Again")),
    "streamed": "".join(chunk.choices[0].delta.content or "" for chunk in _ask("Hello", stream=True)),
    "thoughts": thinking.choices[0].message.reasoning_content,
    "conversation": bool(thinking.model_dump()["dify"]["conversation_id"]),
    "failure": _failure(),
}
sys.stdout.write(json.dumps(seen) + "\n")
