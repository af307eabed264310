"""Flask, and requests: a connection to Dify for each request, and a line at a time."""

from collections.abc import Iterator
from typing import Any

import flask
import requests

from benchmarks.stand_ins.shapes import (
    DIFY_HEADERS,
    DIFY_URL,
    OWN_KEY,
    chunk_of,
    completion_of,
    dify_body,
    new_id,
)

app = flask.Flask(__name__)


def create_chat_completion() -> flask.typing.ResponseReturnValue:
    """`POST /v1/chat/completions`."""
    if flask.request.headers.get("Authorization") != f"Bearer {OWN_KEY}":
        flask.abort(401)
    body = flask.request.get_json()
    if body.get("stream"):
        return flask.Response(_chunks(body), mimetype="text/event-stream")
    response = _ask(body, "blocking", stream=False)
    return flask.jsonify(completion_of(response.json(), body["model"]))


def _chunks(body: dict[str, Any]) -> Iterator[str]:
    chat_id = new_id()
    with _ask(body, "streaming", stream=True) as response:
        for line in response.iter_lines():
            chunk = chunk_of(line.decode(), body["model"], chat_id)
            if chunk:
                yield chunk


def _ask(body: dict[str, Any], mode: str, *, stream: bool) -> requests.Response:
    response = requests.post(  # noqa: S113 - As most are.
        DIFY_URL, json=dify_body(body, mode), headers=DIFY_HEADERS, stream=stream
    )
    response.raise_for_status()
    return response


app.add_url_rule("/v1/chat/completions", view_func=create_chat_completion, methods=["POST"])
