"""Where an app takes a request's files: in its file inputs, or beside the query; and what it takes there."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Final

from opendify.attachments.local_files import LocalFile, ReadyFile, RemoteFile
from opendify.errors import InvalidRequest, RequestTooLarge, UnsupportedMedia
from opendify.records import FILE_INPUTS, AppProfile, FileRules, InputField
from opendify.settings import DifyApp

# What Dify itself calls a document; other files are `custom` to it, unless their media type names text.
_DOCUMENTS: Final = frozenset(
    (
        *("txt", "md", "mdx", "markdown", "pdf", "html", "htm", "xlsx", "xls", "vtt"),
        *("properties", "doc", "docx", "csv", "eml", "msg", "pptx", "ppt", "xml", "epub"),
    )
)


@dataclass(frozen=True, slots=True)
class PlacedFile:
    """A file and what Dify is to take it for; `input` is None beside the query."""

    file: ReadyFile
    type: str
    input: InputField | None = None


@dataclass(slots=True)
class _Place:
    """An input that is still free, or the files beside the query."""

    rules: FileRules
    input: InputField | None = None
    files: list[PlacedFile] = field(default_factory=list)

    @property
    def is_full(self) -> bool:
        return self.rules.most is not None and len(self.files) >= self.rules.most

    @property
    def name(self) -> str:
        return f"the input {self.input.name!r}" if self.input else "the app"


def place(
    files: Sequence[ReadyFile],
    app: DifyApp,
    profile: AppProfile,
    given: Mapping[str, object],
    *,
    most_bytes: int,
) -> list[PlacedFile]:
    """Find each file its place: in required inputs first; a workflow's inputs before the rest.

    Inputs in `given` are the client's own, and are left alone. `most_bytes` counts where
    the server tells no limit.

    Raises:
        InvalidRequest: The app takes no files, or no more.
        UnsupportedMedia: It does not take such a file.
        RequestTooLarge: It is larger than the server takes.
    """
    places = _places(app, profile, given)
    for file in files:
        if not places:
            raise InvalidRequest(
                f"The app behind the model {app.name!r} does not take files; in Dify these are the features "
                "Vision and File Upload, or a workflow's inputs of type file.",
                param=file.param,
                code="unsupported_value",
            )
        _refuse_too_large(file, profile, most_bytes)
        _put(file, places)
    return [placed for where in places for placed in where.files]


def _places(app: DifyApp, profile: AppProfile, given: Mapping[str, object]) -> list[_Place]:
    open_inputs = [
        each
        for each in profile.form or ()
        if each.type in FILE_INPUTS and each.name not in given and each.name not in app.locked_inputs
    ]
    open_inputs.sort(key=lambda each: not each.required)
    takes_beside = profile.takes_files is not False
    if takes_beside and profile.mode != "workflow":
        # There they are part of the conversation, and so they are only where an input must be filled.
        open_inputs = [each for each in open_inputs if each.required]
    places = [_Place(each.files, each) for each in open_inputs]
    return [*places, _Place(profile.file_rules)] if takes_beside else places


def _put(file: ReadyFile, places: Sequence[_Place]) -> None:
    faults = []
    for where in places:
        fault = _fault(file, where)
        if fault is None:
            type_ = _type_for(file, where.rules) or file.type
            where.files.append(PlacedFile(file, type_, where.input))
            return
        faults.append(fault)
    # What is full would have taken it: that tells most.
    raise next((fault for fault in faults if fault.code == "too_many_files"), faults[-1])


def _fault(file: ReadyFile, where: _Place) -> InvalidRequest | None:
    rules = where.rules
    if _type_for(file, rules) is None:
        return UnsupportedMedia(
            f"The file in '{file.param}' is {_described(file)}; {where.name} takes {_taken(rules)}.",
            param=file.param,
        )
    method = "remote_url" if isinstance(file, RemoteFile) else "local_file"
    if rules.methods and method not in rules.methods:
        instead = "its content, not a URL" if method == "remote_url" else "a URL, not its content"
        return InvalidRequest(
            f"For the file in '{file.param}' {where.name} takes {instead}.",
            param=file.param,
            code="unsupported_value",
        )
    if where.is_full:
        return InvalidRequest(
            f"Too many files: {where.name} takes at most {rules.most}.",
            param=file.param,
            code="too_many_files",
        )
    return None


def _type_for(file: ReadyFile, rules: FileRules) -> str | None:
    """What Dify is to take `file` for under `rules`; None where they do not allow it."""
    if not rules.types:
        return file.type
    extension = PurePosixPath(file.filename).suffix[1:].lower()
    if file.type in rules.types and (file.type != "document" or _is_document(file, extension)):
        return file.type
    if "custom" in rules.types and (not rules.extensions or extension in rules.extensions):
        return "custom"
    return None


def _is_document(file: ReadyFile, extension: str) -> bool:
    """Of a file at a URL Dify learns the type only when it looks."""
    return isinstance(file, RemoteFile) or extension in _DOCUMENTS or file.mime_type.startswith("text/")


def _described(file: ReadyFile) -> str:
    extension = PurePosixPath(file.filename).suffix.lower()
    if file.type == "document" and not _is_document(file, extension[1:]):
        return f"{extension!r}, which is no document to Dify" if extension else "of no type that Dify knows"
    return f"of the type {file.type!r}"


def _taken(rules: FileRules) -> str:
    types = sorted(rules.types - {"custom"})
    if "custom" in rules.types:
        types += [f".{extension}" for extension in sorted(rules.extensions)] or ["custom"]
    return f"only {', '.join(types)}"


def _refuse_too_large(file: ReadyFile, profile: AppProfile, most_bytes: int) -> None:
    if not isinstance(file, LocalFile):
        return
    limit = profile.most_file_bytes.get(file.type, most_bytes)
    if file.bytes > limit:
        raise RequestTooLarge(
            f"The file in '{file.param}' has {file.bytes} bytes; "
            f"for the type {file.type!r} the limit is {limit} bytes.",
            param=file.param,
            code="file_too_large",
        )
