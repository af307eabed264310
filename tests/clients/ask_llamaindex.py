# /// script
# requires-python = ">=3.11"
# dependencies = ["llama-index-llms-openai-like==0.8.1"]
# ///
"""Asks a running OpenDify through LlamaIndex. Usage: ask_llamaindex.py BASE_URL API_KEY."""

import json
import sys

from llama_index.core.chat_engine import SimpleChatEngine
from llama_index.core.llms import ChatMessage
from llama_index.llms.openai_like import OpenAILike

base_url, api_key = sys.argv[1:]
place = {"api_base": base_url, "api_key": api_key, "max_retries": 0}
llm = OpenAILike(model="demo-chat", is_chat_model=True, **place)
completing = OpenAILike(model="demo-completion", is_chat_model=False, **place)
engine = SimpleChatEngine.from_defaults(llm=llm)


def _failure() -> str:
    try:
        llm.complete("FAIL500")
    except Exception as error:  # noqa: BLE001 - What kind it is, is what is asked.
        return str(error)
    return "no failure"


seen = {
    "whole": llm.complete("Hello").text,
    "streamed": "".join(part.delta or "" for part in llm.stream_chat([ChatMessage("Hello")])),
    "completion": completing.complete("Hello").text,
    "chat": [str(engine.chat("one")), str(engine.chat("two"))],
    "failure": _failure(),
}
sys.stdout.write(json.dumps(seen) + "\n")
