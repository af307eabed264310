"""FastAPI, and httpx's asynchronous client: one shared client without limits, a line at a time.

Kinder than most: it keeps connections, and opens no client for each request.
"""

from collections.abc import AsyncIterator
from typing import Any

import httpx
from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import StreamingResponse

from benchmarks.stand_ins.shapes import (
    DIFY_HEADERS,
    DIFY_URL,
    OWN_KEY,
    chunk_of,
    completion_of,
    dify_body,
    new_id,
)

client = httpx.AsyncClient(
    timeout=None,  # noqa: S113 - As most are.
    headers=DIFY_HEADERS,
    limits=httpx.Limits(max_connections=None, max_keepalive_connections=None),
)


async def create_chat_completion(request: Request) -> Any:
    """`POST /v1/chat/completions`."""
    if request.headers.get("authorization") != f"Bearer {OWN_KEY}":
        raise HTTPException(401, "Invalid API key")
    body = await request.json()
    if body.get("stream"):
        return StreamingResponse(_chunks(body), media_type="text/event-stream")
    response = await client.post(DIFY_URL, json=dify_body(body, "blocking"))
    response.raise_for_status()
    return completion_of(response.json(), body["model"])


async def _chunks(body: dict[str, Any]) -> AsyncIterator[str]:
    chat_id = new_id()
    async with client.stream("POST", DIFY_URL, json=dify_body(body, "streaming")) as response:
        async for line in response.aiter_lines():
            chunk = chunk_of(line, body["model"], chat_id)
            if chunk:
                yield chunk


app = FastAPI()
app.add_api_route("/v1/chat/completions", create_chat_completion, methods=["POST"])
