"""How each version words the failure of a model."""

from __future__ import annotations

import json

from opendify.simulator.model import Break
from opendify.simulator.turns import Turn

_PLUGIN_ERROR = {
    "args": {"description": "[models] Error: fake mid-stream error"},
    "error_type": "InvokeError",
    "message": "[models] Error: fake mid-stream error",
}


def failure_text(broken: Break, turn: Turn) -> str:
    if turn.quirks.thinking_as_details:
        return _built_in_provider_text(broken, turn)
    return _plugin_text(broken, turn)


def failure_code(broken: Break, turn: Turn) -> tuple[str, int]:
    """The code and the advised status of a failure in chat, agent and completion apps.

    Before 1.16.0 a provider's rate limit is a `completion_request_error` like any other.
    """
    if broken.status == 429 and turn.quirks.rate_limit_events:
        return "rate_limit_error", 429
    if broken.kind == "error_chunk" and turn.quirks.pydantic_errors:
        return "invalid_param", 400
    return "completion_request_error", 400


def _built_in_provider_text(broken: Break, turn: Turn) -> str:
    prefix = "[openai_api_compatible]"
    match broken.kind:
        case "status":
            return f"{prefix} Error: {_status_text(broken.status)}"
        case "error_chunk":
            chunk = {"message": "fake mid-stream error", "type": "server_error", "code": "500"}
            return f"{prefix} Error: {chunk}"
        case "dropped":
            if turn.streaming or turn.is_graph:
                return f"{prefix} Error: Response ended prematurely"
            aborted = "RemoteDisconnected('Remote end closed connection without response')"
            return f"{prefix} Server Unavailable Error, ('Connection aborted.', {aborted})"


def _plugin_text(broken: Break, turn: Turn) -> str:
    match broken.kind:
        case "status" if broken.status == 401 and turn.is_graph:
            return "[openai_api_compatible] Incorrect model credentials provided, please check and try again."
        case "status" if broken.status == 401:
            return "Incorrect API key provided"
        case "status":
            return f"[models] Error: {_status_text(broken.status)}"
        case "error_chunk":
            described = json.dumps(_PLUGIN_ERROR)
            return f"req_id: 8f2a0c8500 PluginInvokeError: {described}" if turn.is_graph else described
        case "dropped":
            if turn.streaming or turn.is_graph:
                return "[models] Connection Error, IncompleteRead: IncompleteRead(0 bytes read)"
            return (
                "[models] Connection Error, RemoteDisconnected: Remote end closed connection without response"
            )


def _status_text(status: int) -> str:
    error = {
        "message": f"fake upstream error {status}",
        "type": "fake_error",
        "param": None,
        "code": str(status),
    }
    return f"API request failed with status code {status}: {json.dumps({'error': error})}"
