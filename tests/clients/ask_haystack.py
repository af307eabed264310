# /// script
# requires-python = ">=3.11"
# dependencies = ["haystack-ai==3.4.0"]
# ///
"""Asks a running OpenDify through Haystack. Usage: ask_haystack.py BASE_URL API_KEY."""

import json
import os
import sys

os.environ["HAYSTACK_TELEMETRY_ENABLED"] = "False"

from haystack.components.generators.chat import OpenAIChatGenerator
from haystack.dataclasses import ChatMessage, StreamingChunk
from haystack.utils import Secret

base_url, api_key = sys.argv[1:]
place = {"api_key": Secret.from_token(api_key), "model": "demo-chat", "api_base_url": base_url}
chunks: list[StreamingChunk] = []
whole = OpenAIChatGenerator(**place)
streaming = OpenAIChatGenerator(**place, streaming_callback=chunks.append)


def _failure(text: str) -> str:
    try:
        whole.run([ChatMessage.from_user(text)])
    except Exception as error:  # noqa: BLE001 - What kind it is, is what is asked.
        return str(error)
    return "no failure"


asked = ChatMessage.from_user("Hello")
first = whole.run([asked])["replies"][0]
again = streaming.run([asked, first, ChatMessage.from_user("Again")])["replies"][0]
seen = {"whole": first.text, "continued": again.text, "chunks": len(chunks), "failure": _failure("FAIL500")}
sys.stdout.write(json.dumps(seen) + "\n")
