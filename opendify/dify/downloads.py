"""A file of Dify's, read piece by piece from the app's own server."""

import time
from collections.abc import Callable
from typing import Final
from urllib.parse import urlsplit

import httpx

from opendify.dify.carriers import headers_without_key
from opendify.dify.failures import dify_errors_mapped
from opendify.errors import DifyError, DifyTimeout
from opendify.records import Clock
from opendify.settings import DifyApp

# An answer waits for it.
_SILENCE_SECONDS: Final = 10.0
_WHOLE_SECONDS: Final = 30.0


def download(
    client: httpx.Client,
    app: DifyApp,
    path: str,
    write: Callable[[bytes], object],
    *,
    clock: Clock = time.monotonic,
) -> str | None:
    """Give `write` what lies at `path`, with its query, of the app's server; the type that Dify says.

    No redirect is followed, since it could lead anywhere.

    Raises:
        DifyError: It is not there, or did not come in time.
    """
    base = urlsplit(app.api_base)
    until = clock() + _WHOLE_SECONDS
    # Dify's links are signed. With the key, one that an app's output made up could read what others said.
    headers = {**headers_without_key(app), "Accept-Encoding": "identity"}
    url = f"{base.scheme}://{base.netloc}/{path.lstrip('/')}"
    with (
        dify_errors_mapped(),
        client.stream(
            "GET", url, headers=headers, timeout=_SILENCE_SECONDS, follow_redirects=False
        ) as response,
    ):
        if response.status_code != 200:
            raise DifyError(f"Dify answered {response.status_code} for a file")
        for piece in response.iter_bytes():
            write(piece)
            if clock() > until:
                raise DifyTimeout("Dify did not send a file in time")
        said: str | None = response.headers.get("Content-Type")
        return said
