"""A file of Dify's, read piece by piece from the app's own server."""

from collections.abc import Callable
from contextlib import closing
from typing import Final
from urllib.parse import urlsplit

import httpx

from opendify.dify.calls import CallAnswer, WhileWaiting, received
from opendify.dify.carriers import headers_without_key
from opendify.dify.events import RunLimits
from opendify.dify.pump import ResponsePump
from opendify.records import Clock
from opendify.settings import DifyApp

_SILENCE_SECONDS: Final = 10.0
# An answer waits for it.
_LIMITS: Final = RunLimits(
    first_event_seconds=_SILENCE_SECONDS, idle_seconds=_SILENCE_SECONDS, total_seconds=30.0
)


def download(
    client: httpx.Client,
    app: DifyApp,
    path: str,
    write: Callable[[bytes], object],
    while_waiting: WhileWaiting,
    *,
    clock: Clock,
) -> str:
    """Give `write` what lies at `path`, with its query, of the app's server; the type that Dify says.

    No redirect is followed, since it could lead anywhere.

    Raises:
        GatewayError: It is not there, or did not come in time; or what `while_waiting` raises.
    """
    base = urlsplit(app.api_base)
    # Dify's links are signed. With the key, one that an app's output made up could read what others said.
    headers = {**headers_without_key(app), "Accept-Encoding": "identity"}
    url = f"{base.scheme}://{base.netloc}/{path.lstrip('/')}"
    request = client.build_request("GET", url, headers=headers, timeout=_SILENCE_SECONDS)
    pump = ResponsePump(client, request, body_read_seconds=_SILENCE_SECONDS)
    with closing(CallAnswer(pump, _LIMITS, clock)) as answer:
        for piece in received(answer, while_waiting):
            write(piece)
        return answer.head.content_type if answer.head else ""
