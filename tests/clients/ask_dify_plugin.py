# /// script
# requires-python = ">=3.11"
# dependencies = ["dify-plugin==0.7.4"]
# ///
"""Asks a running OpenDify as Dify's *OpenAI-API-compatible* provider does.

Usage: ask_dify_plugin.py BASE_URL API_KEY
"""

import json
import sys
from typing import Any

from dify_plugin import OAICompatLargeLanguageModel
from dify_plugin.entities.model.message import AssistantPromptMessage, UserPromptMessage

base_url, api_key = sys.argv[1:]
MODEL = "demo-chat"
credentials = {
    "endpoint_url": base_url,
    "api_key": api_key,
    "mode": "chat",
    "context_size": "4096",
    "function_calling_type": "no_call",
}


class Provider(OAICompatLargeLanguageModel):  # type: ignore[misc] # Has no types here.
    """Without the table that tokens are counted by, which it would download."""

    def _get_num_tokens_by_gpt2(self, text: str) -> int:
        return len(text.split())


provider = Provider([])


def _ask(*texts: str, stream: bool) -> Any:
    kinds = (UserPromptMessage, AssistantPromptMessage)
    messages = [kinds[number % 2](content=text) for number, text in enumerate(texts)]
    return provider._generate(MODEL, credentials, messages, {}, stream=stream, user="u-1")


def _streamed(*texts: str) -> str:
    return "".join(str(chunk.delta.message.content) for chunk in _ask(*texts, stream=True))


def _failure(action: Any) -> str:
    try:
        action()
    except Exception as error:  # noqa: BLE001 - What kind it is, is what is asked.
        return str(error)
    return "no failure"


provider.validate_credentials(MODEL, credentials)
first = str(_ask("Hello", stream=False).message.content)
wrong = {**credentials, "api_key": "sk-wrong"}
seen = {
    "whole": first,
    "continued": _streamed("Hello", first, "Again"),
    "thinking": _streamed("THINK why"),
    "wrong key": _failure(lambda: provider.validate_credentials(MODEL, wrong)),
    "failure": _failure(lambda: _streamed("FAILMID one two three four five six")),
}
sys.stdout.write(json.dumps(seen) + "\n")
