"""What tests ask of the simulator itself; no Dify has these paths."""

from __future__ import annotations

from dataclasses import asdict

from flask import Blueprint
from flask.typing import ResponseReturnValue

from opendify.simulator.serving_context import json_response, world

blueprint = Blueprint("control", __name__, url_prefix="/_simulator")


@blueprint.post("/reset")
def reset() -> ResponseReturnValue:
    world().store.reset()
    return json_response({"result": "success"})


@blueprint.get("/requests")
def list_requests() -> ResponseReturnValue:
    """The run requests in the order of their arrival, refused ones too."""
    return json_response({"requests": [asdict(received) for received in world().store.requests]})


@blueprint.get("/counts")
def show_counts() -> ResponseReturnValue:
    store = world().store
    names = ("stops", "aborted_streams")
    rows = {
        "requests": len(store.requests),
        "conversations": len(store.conversations),
        "running": len(store.tasks),
    }
    return json_response({name: store.counts[name] for name in names} | rows)


@blueprint.delete("/conversations")
def delete_all_conversations() -> ResponseReturnValue:
    return json_response({"deleted": world().store.delete_all_conversations()})
