"""The checks that Dify makes of `inputs` and `files`, with its words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from opendify.simulator.apps import GRAPH_MODES, DemoApp, FormField
from opendify.simulator.errors import DifyError, invalid_param
from opendify.simulator.memory import Json, Upload
from opendify.simulator.turns import World, stable_id

_TRANSFER_METHODS = frozenset({"remote_url", "local_file", "tool_file"})
_FETCH_SECONDS = 3.5
_TEXT_KINDS = frozenset({"text-input", "paragraph"})


@dataclass(frozen=True)
class Files:
    """The files of one turn that passed the checks."""

    images: int
    rows: tuple[Json, ...] = ()


class InputReader:
    """Checks one request's inputs and files for one app and user."""

    def __init__(self, world: World, app: DemoApp, app_key: str, user: str) -> None:
        self._world = world
        self._app = app
        self._app_key = app_key
        self._user = user

    def read_inputs(self, given: Mapping[str, object]) -> tuple[Json, int]:
        """The app's variables, missing ones as `None`, and the number of images among them."""
        inputs: Json = {}
        images = 0
        for field in self._app.form:
            value = given.get(field.variable)
            if value is None:
                if field.required:
                    raise invalid_param(f"{field.variable} is required in input form")
                inputs[field.variable] = None
            elif field.kind in {"file", "file-list"}:
                rows = self._read_file_input(field, value)
                images += sum(row["type"] == "image" for row in rows)
                inputs[field.variable] = rows if field.kind == "file-list" else rows[0]
            else:
                inputs[field.variable] = _check_value(field, value)
        return inputs, images

    def read_files(self, given: object) -> Files:
        """Files of an app without file upload are dropped without a word."""
        if not self._app.file_types or not isinstance(given, list):
            return Files(0)
        files = [cast("Mapping[str, object]", item) for item in given if isinstance(item, dict)]
        if len(files) > self._app.max_files:
            kind = "files" if self._app.mode in GRAPH_MODES else "image files"
            raise invalid_param(f"Number of {kind} exceeds the maximum limit {self._app.max_files}")
        rows = [self._read_file(item, self._app.file_types) for item in files]
        return Files(sum(row["type"] == "image" for row in rows), tuple(rows))

    def graph_files(self, files: Files) -> tuple[Json, ...]:
        """The files as the variables of a chatflow or workflow hold them."""
        return tuple(self._graph_file(row) for row in files.rows)

    def _read_file_input(self, field: FormField, value: object) -> list[Json]:
        if field.kind == "file" and not isinstance(value, dict):
            raise invalid_param(f"{field.variable} in input form must be a file")
        given = [item for item in (value if isinstance(value, list) else [value]) if isinstance(item, dict)]
        rows = [self._read_file(item, field.file_types) for item in given]
        return [self._graph_file(row) for row in rows]

    def _graph_file(self, row: Json) -> Json:
        url = self._world.uploaded_file_url(str(row["related_id"]))
        return {
            "dify_model_identity": "__dify__file__",
            "id": None,
            "tenant_id": stable_id("tenant"),
            "remote_url": url if self._world.quirks.new_graph_engine else "",
            "extension": f".{str(row['filename']).rpartition('.')[2]}",
            "url": url,
        } | row

    def _read_file(self, given: Mapping[str, object], types: Sequence[str]) -> Json:
        method = str(given.get("transfer_method"))
        if method not in _TRANSFER_METHODS:
            raise invalid_param(f"No matching enum found for value '{method}'")
        if method == "remote_url":
            return self._read_remote(given)
        return self._read_uploaded(given, types)

    def _read_uploaded(self, given: Mapping[str, object], types: Sequence[str]) -> Json:
        upload = self._world.store.uploads.get(str(given.get("upload_file_id")))
        if upload is None or not self._may_use(upload):
            raise invalid_param("Invalid upload file")
        kind = str(given.get("type"))
        if kind not in types and self._world.quirks.checks_file_types:
            raise invalid_param(f"File validation failed for file: {upload.name}")
        upload.used = True
        return self._row(kind, "local_file", upload.name, upload.mime_type, len(upload.content), upload.id)

    def _read_remote(self, given: Mapping[str, object]) -> Json:
        url = str(given.get("url"))
        name = url.rpartition("/")[2] or "file"
        if not url.startswith(("http://", "https://")) or name.startswith("none."):
            self._world.sleep(_FETCH_SECONDS)
            raise invalid_param(f"Reached maximum retries (3) for URL {url}")
        return self._row(str(given.get("type")), "remote_url", name, "image/png", 74, stable_id(url))

    def _may_use(self, upload: Upload) -> bool:
        if not self._world.quirks.upload_belongs_to_user:
            return True
        return (upload.app_key, upload.user) == (self._app_key, self._user)

    def _row(self, kind: str, method: str, name: str, mime_type: str, size: int, related_id: str) -> Json:
        return {
            "type": kind,
            "transfer_method": method,
            "filename": name,
            "mime_type": mime_type,
            "size": size,
            "related_id": related_id,
        }


def _check_value(field: FormField, value: object) -> object:
    if field.kind in _TEXT_KINDS:
        return _check_text(field, value)
    if field.kind == "select" and value not in field.choices:
        raise invalid_param(
            f"{field.variable} in input form must be one of the following: {list(field.choices)}"
        )
    if field.kind == "number":
        return _check_number(field, value)
    return value


def _check_text(field: FormField, value: object) -> str:
    if not isinstance(value, str):
        raise invalid_param(f"(type '{field.kind}') {field.variable} in input form must be a string")
    if field.max_length and len(value) > field.max_length:
        raise invalid_param(f"{field.variable} in input form must be less than {field.max_length} characters")
    return value


def _check_number(field: FormField, value: object) -> object:
    refusal: DifyError = invalid_param(f"{field.variable} in input form must be a valid number")
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise refusal
    if not isinstance(value, str):
        return value
    try:
        return float(value) if "." in value else int(value)
    except ValueError:
        raise refusal from None


def model_text(app: DemoApp, query: str, inputs: Mapping[str, object]) -> str:
    """What the model is asked: the query, or the texts of the inputs where there is none."""
    if query:
        return query
    if app.prompt_template:
        return fill(app.prompt_template, inputs)
    texts: Sequence[str] = [str(value) for value in inputs.values() if isinstance(value, str)]
    return "\n".join(texts)


def fill(template: str, inputs: Mapping[str, object]) -> str:
    """Replace `{name}` by the input of that name; a missing one reads `None`, as in Dify."""
    for name, value in inputs.items():
        template = template.replace(f"{{{name}}}", str(value))
    return template
