"""OpenAI's endpoints for files."""

import flask
from flask.typing import ResponseReturnValue

from opendify.errors import InvalidRequest
from opendify.files.base import FileQuery, StoredFile
from opendify.files.keeper import FileFacts, FileKeeper, file_failures_mapped, no_such_file
from opendify.files.links import FileLinkSigner
from opendify.files.names import mime_type_of
from opendify.records import Caller
from opendify.routes.answers import json_response
from opendify.routes.downloads import download, shown_or_saved
from opendify.routes.forms import read_file_form
from opendify.routes.people import People
from opendify.wire.openai_files import FileListing, FileUpload, parse_fields


def files_blueprint(keeper: FileKeeper, people: People, signer: FileLinkSigner) -> flask.Blueprint:
    """The routes below `/v1/files`; callers see their own files alone."""
    blueprint = flask.Blueprint("files", __name__, url_prefix="/v1/files")
    routes = _Routes(keeper, people, signer)
    blueprint.post("")(routes.create_file)
    blueprint.get("")(routes.list_files)
    blueprint.get("/<file_id>")(routes.get_file)
    blueprint.get("/<file_id>/content")(routes.get_content)
    blueprint.delete("/<file_id>")(routes.delete_file)
    return blueprint


class _Routes:
    """One method a route."""

    def __init__(self, keeper: FileKeeper, people: People, signer: FileLinkSigner) -> None:
        self._signer = signer
        self._keeper = keeper
        self._people = people

    def create_file(self) -> ResponseReturnValue:
        caller = self._people.caller()
        self._people.count(caller)
        with file_failures_mapped(), self._keeper.draft() as draft:
            form = read_file_form(flask.request, draft.write, most_file_bytes=draft.most_bytes)
            upload = parse_fields(FileUpload, form.fields)
            if form.filename is None:
                raise InvalidRequest(
                    "Missing required parameter: 'file'.", param="file", code="missing_required_parameter"
                )
            facts = FileFacts(
                filename=form.filename,
                purpose=upload.purpose,
                mime_type=mime_type_of(form.mime_type, form.filename),
                expires_after_seconds=upload.expires_after.seconds if upload.expires_after else None,
            )
            return json_response(_file_shape(self._keeper.keep(draft, caller, facts)))

    def list_files(self) -> ResponseReturnValue:
        caller = self._people.caller()
        listing = parse_fields(FileListing, flask.request.args)
        page = self._keeper.page(FileQuery(owner=caller.id, **listing.model_dump()))
        ids = [file.id for file in page.files]
        shapes = [_file_shape(file) for file in page.files]
        borders = {"first_id": ids[0] if ids else "", "last_id": ids[-1] if ids else ""}
        return json_response({"object": "list", "data": shapes, **borders, "has_more": page.has_more})

    def get_file(self, file_id: str) -> ResponseReturnValue:
        return json_response(_file_shape(self._keeper.get(file_id, self._people.caller())))

    def get_content(self, file_id: str) -> ResponseReturnValue:
        token = flask.request.args.get("token")
        if token is not None:
            return self._get_linked(file_id, token)
        file = self._keeper.get(file_id, self._people.caller())
        return download(file, self._keeper.open(file))

    def _get_linked(self, file_id: str, token: str) -> ResponseReturnValue:
        """Who holds a link needs no key."""
        owner = self._signer.owner_for(file_id, token)
        if owner is None:
            raise no_such_file(file_id)
        file = self._keeper.get(file_id, Caller(owner))
        return shown_or_saved(file, self._keeper.open(file))

    def delete_file(self, file_id: str) -> ResponseReturnValue:
        self._keeper.delete(file_id, self._people.caller())
        return json_response({"id": file_id, "object": "file", "deleted": True})


def _file_shape(file: StoredFile) -> dict[str, object]:
    """OpenAI's `File`."""
    shape = {
        "id": file.id,
        "object": "file",
        "bytes": file.bytes,
        "created_at": file.created_at,
        "filename": file.filename,
        "purpose": file.purpose,
        "status": "processed",
    }
    return shape if file.expires_at is None else {**shape, "expires_at": file.expires_at}
