"""Recordings → text, by what an app's workspace has for that."""

import os
from collections.abc import Mapping
from functools import partial
from typing import IO

from opendify.audio.candidates import first_able
from opendify.audio.formats import START_BYTES, PartNames, part_names
from opendify.dify.calls import DifyCall, FilePart
from opendify.errors import DifyError, InvalidRequest, RequestTooLarge
from opendify.runs.calls import CallTools
from opendify.runs.person import Person
from opendify.settings import DifyApp


class Transcriber:
    """`POST /v1/audio/transcriptions` as Dify can do it: nothing of it can be chosen but the app."""

    def __init__(self, tools: CallTools, *, most_bytes: int) -> None:
        self._owners = tools.owners
        self._discovery = tools.discovery
        self._calls = tools.calls
        self.most_bytes = most_bytes

    def transcribe(self, model: str, recording: IO[bytes], person: Person) -> str:
        """The text; `recording` is read from its start, maybe more than once.

        Raises:
            RequestTooLarge: It is longer than it may be.
            UnsupportedMedia: It is no audio.
            InvalidRequest: It is empty, or the app does not listen.
            GatewayError: Dify refused, or failed.
        """
        owner = self._owners.of_person(model, person.caller, person.context)
        person.observation.model = owner.app.name
        names = self._check(recording)
        transcribe = partial(self._ask, recording=recording, names=names, user=owner.user, person=person)
        return first_able(self._owners.who_may_answer(owner, person.caller), transcribe)

    def _check(self, recording: IO[bytes]) -> PartNames:
        length = recording.seek(0, os.SEEK_END)
        if length > self.most_bytes:
            raise RequestTooLarge(
                f"The file is too large: {length} bytes, and {self.most_bytes} are allowed.", param="file"
            )
        if not length:
            raise InvalidRequest("The file is empty.", param="file", code="invalid_value")
        recording.seek(0)
        return part_names(recording.read(START_BYTES))

    def _ask(self, app: DifyApp, recording: IO[bytes], names: PartNames, user: str, person: Person) -> str:
        if self._discovery.profile(app).hears is False:
            raise InvalidRequest(
                f"The app behind the model {app.name!r} does not turn speech into text; in Dify this is the "
                "feature Speech to Text.",
                param="model",
                code="unsupported_value",
            )
        part = FilePart(names.filename, names.mime_type, recording)
        call = DifyCall("POST", "/audio-to-text", {"user": user}, part)
        answer = self._calls.read_json(app, call, person.client)
        text = answer.get("text") if isinstance(answer, Mapping) else None
        if not isinstance(text, str):
            raise DifyError("Dify sent no transcript")
        return text
