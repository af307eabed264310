"""Files that apps make, copied for the caller when they are told of, and given out under links of our own."""

import logging
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Final
from urllib.parse import unquote, urlsplit, urlunsplit

from opendify.dify.calls import WhileWaiting
from opendify.dify.client import DifyClient
from opendify.errors import DifyTimeout, GatewayError
from opendify.files.keeper import FileFacts, FileKeeper, file_failures_mapped
from opendify.files.links import FileLinkSigner
from opendify.files.names import mime_type_of
from opendify.records import Caller, Clock
from opendify.settings import DifyApp
from opendify.translate.file_links import Publish, published_at
from opendify.translate.turn import AnswerFile

# What Dify signs lies below this path, whatever host it believes to have.
_DIFY_FILES: Final = "/files/"
_MOST_SECONDS: Final = 30.0

logger = logging.getLogger(__name__)


class FilesOut:
    """Copies only from the Dify server of the app that answers, and from nowhere else."""

    def __init__(
        self,
        keeper: FileKeeper,
        client: DifyClient,
        signer: FileLinkSigner,
        *,
        ttl_seconds: float,
        clock: Clock = time.monotonic,
    ) -> None:
        """A copy is kept for `ttl_seconds`, if the operator's own limit is not shorter."""
        self._clock = clock
        self._keeper = keeper
        self._client = client
        self._signer = signer
        self._ttl_seconds = ttl_seconds

    def publisher(self, app: DifyApp, caller: Caller, while_waiting: WhileWaiting) -> Publish:
        """Publishes what the app gives the caller; where copying fails, under Dify's own URL.

        So it does where `while_waiting` raises: nobody reads on. The stream is silent meanwhile,
        so that all copies of one answer together may take no longer than half a minute.
        """
        as_dify_says = published_at(app.api_base)
        patience = _Patience(while_waiting, self._clock)

        def publish(file: AnswerFile) -> AnswerFile:
            path = dify_file_path(file.url, app.api_base)
            if path is None or file.is_shown:
                return as_dify_says(file)
            try:
                with patience:
                    patience.look_up()
                    return self._copied(file, path, app, caller, patience.look_up)
            except GatewayError as error:
                # Without the path, which holds a signature.
                logger.warning(
                    "an app's file could not be copied", extra={"model": app.name, "error": error.code}
                )
                return as_dify_says(file)

        return publish

    def _copied(
        self, file: AnswerFile, path: str, app: DifyApp, caller: Caller, while_waiting: WhileWaiting
    ) -> AnswerFile:
        with file_failures_mapped(), self._keeper.draft() as draft:
            said = self._client.download(app, path, draft.write, while_waiting)
            facts = FileFacts(
                filename=file.filename,
                purpose="assistants_output",
                mime_type=mime_type_of(file.mime_type or said, file.filename),
                expires_after_seconds=self._ttl_seconds,
            )
            kept = self._keeper.keep(draft, caller, facts)
        return replace(
            file, url=self._signer.url_of(kept), id=kept.id, mime_type=kept.mime_type, size=kept.bytes
        )


class _Patience:
    """How long one answer may still wait for copies; used as a context around each wait."""

    def __init__(self, while_waiting: WhileWaiting, clock: Clock) -> None:
        self._while_waiting = while_waiting
        self._clock = clock
        self._seconds_left = _MOST_SECONDS
        self._began_at = 0.0

    def look_up(self) -> None:
        """Raises what `while_waiting` does, and `DifyTimeout` when the time is up."""
        self._while_waiting()
        if self._clock() - self._began_at >= self._seconds_left:
            raise DifyTimeout("The copies of an app's files took too long")

    def __enter__(self) -> None:
        self._began_at = self._clock()

    def __exit__(self, *_: object) -> None:
        self._seconds_left -= self._clock() - self._began_at


def dify_file_path(url: str, api_base: str) -> str | None:
    """Path and query under which the app's Dify server has the file; None where it is another's.

    Dify may not know its own address: what lies below `/files/` is asked for at the
    address that we know, so that no URL can lead anywhere else. Nothing else of the
    server is asked for, whatever an app's output calls a file.
    """
    try:
        parts, base = urlsplit(url), urlsplit(api_base)
    except ValueError:
        return None
    is_its_own = parts.netloc in ("", base.netloc)
    prefix = base.path.removesuffix("/v1") if is_its_own else ""
    places = (_DIFY_FILES, prefix + _DIFY_FILES)
    leads_up = {".", ".."} & set(unquote(parts.path).replace("\\", "/").split("/"))
    if leads_up or not parts.path.startswith(places):
        return None
    return urlunsplit(("", "", parts.path, parts.query, ""))


PublisherFor = Callable[[DifyApp, Caller, WhileWaiting], Publish]


def as_dify_publishes(app: DifyApp, *_: object) -> Publish:
    """For an operator who lets clients reach Dify."""
    return published_at(app.api_base)
