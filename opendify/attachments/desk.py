"""Hands the files of requests to Dify: looked at, placed, uploaded once, or passed on as URLs."""

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from msgspec import structs

from opendify.attachments.fetching import Fetcher, FetchLimits
from opendify.attachments.inspection import inspect
from opendify.attachments.local_files import LocalFile, ReadyFile, RemoteFile, inline_file
from opendify.attachments.placing import PlacedFile, place
from opendify.attachments.public_addresses import is_plainly_private
from opendify.attachments.upload_memory import UploadMemory, upload_key
from opendify.dify.calls import WhileWaiting
from opendify.dify.client import DifyClient
from opendify.errors import FileNotStored, InvalidRequest
from opendify.files.keeper import FileKeeper
from opendify.records import AppProfile, Caller, Clock
from opendify.settings import DifyApp
from opendify.settings.attachments import AttachmentSettings
from opendify.stores.answers import AnswerStore
from opendify.translate.dify_request import RunText
from opendify.translate.turn import Attachment

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class HandedFiles:
    """Dify's file objects: those beside the query, and those in input variables."""

    files: Sequence[Mapping[str, object]] = ()
    inputs: Mapping[str, object] = field(default_factory=dict)

    def beside(self, text: RunText) -> RunText:
        """`text` with the inputs that hold files."""
        return structs.replace(text, inputs={**text.inputs, **self.inputs}) if self.inputs else text


NO_FILES = HandedFiles()


class FileDesk:
    """What all requests of a process share on the way of their files to Dify."""

    def __init__(
        self,
        client: DifyClient,
        settings: AttachmentSettings,
        *,
        keeper: FileKeeper | None = None,
        answers: AnswerStore | None = None,
        fetcher: Fetcher | None = None,
        now: Clock = time.time,
    ) -> None:
        """`keeper` has what callers stored before; `answers` remembers uploads for all processes."""
        self.client = client
        self.settings = settings
        self.keeper = keeper
        self.fetcher = fetcher or Fetcher()
        self._nothing = RequestFiles(self, (), Caller(""), lambda: None)
        self.memory = UploadMemory(answers, keep_seconds=settings.remember_seconds, now=now)

    def close(self) -> None:
        """Close the store of files."""
        if self.keeper:
            self.keeper.close()

    def take(
        self, attachments: Sequence[Attachment], caller: Caller, while_waiting: WhileWaiting
    ) -> "RequestFiles":
        """The files of one request, for as many apps as may answer it.

        Raises:
            InvalidRequest: There are too many.
        """
        most = self.settings.most
        if len(attachments) > most:
            raise InvalidRequest(
                f"Too many files: a message may bring {most}.",
                param=attachments[most].param,
                code="too_many_files",
            )
        return RequestFiles(self, attachments, caller, while_waiting) if attachments else self._nothing


class RequestFiles:
    """The files of one request; looked at once, uploaded once for each app and user."""

    def __init__(
        self,
        desk: FileDesk,
        attachments: Sequence[Attachment],
        caller: Caller,
        while_waiting: WhileWaiting,
    ) -> None:
        self._desk = desk
        self._attachments = tuple(attachments)
        self._caller = caller
        self._while_waiting = while_waiting
        self._ready: dict[bool, list[ReadyFile]] = {}
        self._own: dict[str, str] = {}
        self._from_memory: set[str] = set()

    def hand_over(
        self, app: DifyApp, profile: AppProfile, user: str, given: Mapping[str, object]
    ) -> HandedFiles:
        """Give the files to `app` for `user`; inputs in `given` are the client's own.

        Everything is checked before anything is uploaded.

        Raises:
            InvalidRequest: A file that cannot be used, or that the app does not take.
            GatewayError: An upload failed.
        """
        if not self._attachments:
            return NO_FILES
        if app.files == "off":
            raise InvalidRequest(
                f"The model {app.name!r} does not take files.",
                param=self._attachments[0].param,
                code="unsupported_value",
            )
        ready = self._ready_for(app)
        placed = place(ready, app, profile, given, most_bytes=self._desk.settings.most_bytes)
        # Where Dify would not say that it forgot one, nothing is left to its memory.
        trusts = not profile.refuses_in_silence
        return _handed([(each, self._shape(each, app, user, trusts_memory=trusts)) for each in placed])

    def forget_uploads(self) -> bool:
        """Dify forgot a file that it was given before; whether to hand them over again may help."""
        keys, self._from_memory = self._from_memory, set()
        for key in keys:
            self._desk.memory.forget(key)
        if keys:
            logger.info("Dify forgot files, which it is given again", extra={"files": len(keys)})
        return bool(keys)

    def _ready_for(self, app: DifyApp) -> list[ReadyFile]:
        fetches = app.files == "fetch"
        if fetches not in self._ready:
            self._ready[fetches] = [self._prepare(each, fetches=fetches) for each in self._attachments]
        return self._ready[fetches]

    def _prepare(self, attachment: Attachment, *, fetches: bool) -> ReadyFile:
        settings = self._desk.settings
        if attachment.content is not None:
            file = inline_file(attachment, attachment.content)
        elif attachment.file_id is not None:
            file = self._stored(attachment, attachment.file_id)
        else:
            remote = RemoteFile(attachment.type, attachment.filename, attachment.param, attachment.url or "")
            if not fetches:
                self._refuse_private(remote)
                return remote
            limits = FetchLimits(settings.most_bytes, settings.fetch_seconds)
            file = self._desk.fetcher.fetch(remote, limits, self._while_waiting)
        return inspect(file, most_pixels=settings.most_pixels)

    def _stored(self, attachment: Attachment, file_id: str) -> LocalFile:
        keeper = self._desk.keeper
        if keeper is None:
            raise FileNotStored("No files are kept here; send the file's content.", param=attachment.param)
        try:
            found = keeper.get(file_id, self._caller)
        except FileNotStored as error:
            error.param = attachment.param
            raise
        filename = attachment.filename or found.filename
        return LocalFile(
            attachment.type,
            filename,
            found.mime_type,
            attachment.param,
            found.bytes,
            found.sha256,
            lambda: keeper.open(found),
        )

    def _refuse_private(self, file: RemoteFile) -> None:
        if self._desk.settings.private_urls == "refuse" and is_plainly_private(_host(file.url)):
            raise InvalidRequest(
                f"The URL in '{file.param}' leads into a private network, where nothing is sent from here; "
                "an operator can allow it with ATTACHMENT_PRIVATE_URLS.",
                param=file.param,
                code="private_url",
            )

    def _shape(
        self, placed: PlacedFile, app: DifyApp, user: str, *, trusts_memory: bool
    ) -> Mapping[str, object]:
        file = placed.file
        if isinstance(file, RemoteFile):
            return {"type": placed.type, "transfer_method": "remote_url", "url": file.url}
        upload_id = self._upload(file, app, user, trusts_memory=trusts_memory)
        return {"type": placed.type, "transfer_method": "local_file", "upload_file_id": upload_id}

    def _upload(self, file: LocalFile, app: DifyApp, user: str, *, trusts_memory: bool) -> str:
        memory = self._desk.memory
        key = upload_key(app, user, file.sha256, file.filename, file.mime_type)
        upload_id = self._own.get(key) or (memory.find(key) if trusts_memory else None)
        if upload_id is not None:
            if key not in self._own:
                self._from_memory.add(key)
            return upload_id
        self._while_waiting()
        upload_id = self._desk.client.upload(app, file, user, while_waiting=self._while_waiting)
        self._own[key] = upload_id
        memory.remember(key, user, upload_id)
        return upload_id


def _handed(shapes: Sequence[tuple[PlacedFile, Mapping[str, object]]]) -> HandedFiles:
    beside = [shape for placed, shape in shapes if placed.input is None]
    inputs: dict[str, object] = {}
    for placed, shape in shapes:
        if placed.input and placed.input.type == "file-list":
            inputs[placed.input.name] = [*_listed(inputs.get(placed.input.name)), shape]
        elif placed.input:
            inputs[placed.input.name] = shape
    return HandedFiles(beside, inputs)


def _listed(shapes: object) -> list[object]:
    return shapes if isinstance(shapes, list) else []


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""
