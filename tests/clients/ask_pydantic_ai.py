# /// script
# requires-python = ">=3.11"
# dependencies = ["pydantic-ai-slim[openai]==2.31.1"]
# ///
"""Asks a running OpenDify through Pydantic AI. Usage: ask_pydantic_ai.py BASE_URL API_KEY."""

import json
import sys

from pydantic_ai import Agent
from pydantic_ai.exceptions import ModelHTTPError
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

base_url, api_key = sys.argv[1:]
agent = Agent(OpenAIChatModel("demo-chat", provider=OpenAIProvider(base_url=base_url, api_key=api_key)))


def _failure(text: str) -> str:
    try:
        agent.run_sync(text)
    except ModelHTTPError as error:
        return str(error)
    return "no failure"


first = agent.run_sync("Hello")
again = agent.run_stream_sync("Again", message_history=first.all_messages())
seen = {"whole": first.output, "continued": again.get_output(), "failure": _failure("FAIL500")}
sys.stdout.write(json.dumps(seen) + "\n")
