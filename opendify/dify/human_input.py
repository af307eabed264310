"""Forms that a run waits for: handing in what a person chose."""

from urllib.parse import quote

from opendify.dify.client import DifyClient
from opendify.settings import DifyApp
from opendify.translate.dify_errors import error_from_response
from opendify.translate.human_input import FormAnswer, PausedRun
from opendify.wire.dify import decode_error_body

_ALREADY_ANSWERED = "human_input_form_submitted"
_GONE = frozenset({404, 412})


def submit_form(client: DifyClient, app: DifyApp, paused: PausedRun, answer: FormAnswer, user: str) -> bool:
    """Answer the form, so that its run goes on; False where nothing waits for it any more.

    A form that was answered before is no fault: its run goes on, and whoever did may have
    missed what it said.

    Raises:
        GatewayError: Dify could not be asked, or refuses what was filled in.
    """
    path = f"/form/human_input/{quote(paused.form_token, safe='')}"
    body = {"user": user, "inputs": dict(answer.inputs), "action": answer.action}
    response = client.exchange(app, "POST", path, body)
    if response.status_code < 400:
        return True
    fault = decode_error_body(response.content)
    if fault and fault.code == _ALREADY_ANSWERED:
        return True
    if response.status_code in _GONE:
        return False
    raise error_from_response(response.status_code, response.content)
