"""The OpenAPI document of the routes: built from what really decodes requests."""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema
from werkzeug.routing import Rule

from opendify import __version__
from opendify.routes.operations import OPERATIONS, Access, Media, Operation
from opendify.translate.parameters import Parameter
from opendify.wire import answers

Json = dict[str, Any]
"""A JSON object."""

_KEYS: Final[list[Json]] = [{"bearer": []}, {"api-key": []}, {"x-api-key": []}]
_ACCESS: Final[Mapping[Access, list[Json]]] = {
    "everybody": [],
    "caller": _KEYS,
    "probe": [{}, *_KEYS],
    "admin": _KEYS,
}
_ABOUT: Final = (
    "Dify apps as OpenAI's models. Parameters that are not named here are accepted and ignored. "
    "The same routes answer without `/v1` and below `/openai/v1`."
)


def openapi_document(rules: Iterable[Rule]) -> Json:
    """The document of an app with these routes.

    Raises:
        KeyError: A route is in no table.
    """
    routes = {route: path for rule in rules for route, path in _routes_of(rule)}
    schemas = _Schemas(OPERATIONS[route] for route in routes)
    paths: Json = {}
    for route, parameters in sorted(routes.items()):
        method, path = route.split(" ")
        paths.setdefault(path, {})[method.lower()] = _operation(route, OPERATIONS[route], parameters, schemas)
    return {
        "openapi": "3.1.0",
        "info": {"title": "OpenDify", "version": __version__, "description": _ABOUT},
        # Relative to the document, so that it is right behind a prefix too.
        "servers": [{"url": "."}],
        "paths": paths,
        "components": {
            "schemas": schemas.definitions,
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "api-key": {"type": "apiKey", "in": "header", "name": "api-key"},
                "x-api-key": {"type": "apiKey", "in": "header", "name": "x-api-key"},
            },
        },
    }


def _routes_of(rule: Rule) -> Iterator[tuple[str, list[Json]]]:
    """`GET /v1/files/{file_id}`, and the parameters of the path."""
    parameters = [
        {
            "name": name,
            "in": "path",
            "required": True,
            "schema": {"type": "string", "format": "uuid"} if kind == "uuid:" else {"type": "string"},
        }
        for kind, name in re.findall(r"<(\w+:)?(\w+)>", rule.rule)
    ]
    path = re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule)
    for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}:
        yield f"{method} {path}", parameters


class _Schemas:
    """The shapes of all operations, under names that none of them shares."""

    def __init__(self, operations: Iterable[Operation]) -> None:
        shapes: dict[tuple[type[BaseModel], JsonSchemaMode], None] = {(answers.Error, "serialization"): None}
        for operation in operations:
            shapes |= {(shape, "validation"): None for shape in _requested(operation)}
            shapes |= {(shape, "serialization"): None for shape in _answered(operation)}
        references, definitions = models_json_schema(
            list(shapes), ref_template="#/components/schemas/{model}"
        )
        self._references = references
        self.definitions: Json = definitions["$defs"]

    def request(self, shape: type[BaseModel]) -> Json:
        return self._references[shape, "validation"]

    def answer(self, shape: type[BaseModel]) -> Json:
        return self._references[shape, "serialization"]

    def resolved(self, shape: type[BaseModel]) -> Json:
        """The definition of a request itself."""
        resolved: Json = self.definitions[self.request(shape)["$ref"].rpartition("/")[2]]
        return resolved


def _requested(operation: Operation) -> Iterator[type[BaseModel]]:
    for shape in (operation.body, operation.form, operation.query):
        if isinstance(shape, type):
            yield shape


def _media(operation: Operation) -> tuple[Media, ...]:
    return operation.answer if isinstance(operation.answer, tuple) else (operation.answer,)


def _answered(operation: Operation) -> Iterator[type[BaseModel]]:
    for shape in (*_media(operation), operation.events):
        if isinstance(shape, type):
            yield shape


def _operation(route: str, operation: Operation, in_path: list[Json], schemas: _Schemas) -> Json:
    described: Json = {
        "operationId": re.sub(r"\W+", "_", route.lower()).strip("_"),
        "tags": [operation.tag],
        "summary": operation.summary,
        "security": _ACCESS[operation.access],
        "parameters": [*in_path, *_query(operation, schemas)],
        "responses": _responses(operation, schemas),
    }
    if operation.access == "admin":
        described["description"] = "Needs an admin's key."
    if body := _body(operation, schemas):
        described["requestBody"] = body
    return described


def _query(operation: Operation, schemas: _Schemas) -> Iterator[Json]:
    query = operation.query
    if query is None:
        return
    fields = schemas.resolved(query)["properties"] if isinstance(query, type) else query
    for name, schema in fields.items():
        yield {"name": name, "in": "query", "required": False, "schema": schema}


def _body(operation: Operation, schemas: _Schemas) -> Json | None:
    if operation.body:
        definition = schemas.resolved(operation.body)
        definition["properties"] |= _described(operation.parameters, definition["properties"])
        # A body without any field that must be there may be left out.
        required = operation.parameters != () or "required" in definition
        schema = schemas.request(operation.body)
        return {"required": required, "content": {"application/json": {"schema": schema}}}
    if operation.form:
        file = {"type": "object", "required": ["file"], "properties": {"file": {"format": "binary"}}}
        schema = {"allOf": [schemas.request(operation.form), file]}
        return {"required": True, "content": {"multipart/form-data": {"schema": schema}}}
    return None


def _described(parameters: Iterable[Parameter], known: Json) -> Json:
    """Every parameter of an endpoint's table, those that no shape reads too."""
    return {each.name: {**known.get(each.name, {}), "description": _note(each)} for each in parameters}


def _note(parameter: Parameter) -> str:
    return f"{parameter.treatment.capitalize()}: {parameter.note}."


def _responses(operation: Operation, schemas: _Schemas) -> Json:
    content: Json = {}
    for media in _media(operation):
        if isinstance(media, str):
            content[media] = {"schema": {"type": "string"}} if media.startswith("text/") else {}
        else:
            content["application/json"] = {"schema": schemas.answer(media)}
    if operation.events:
        content["text/event-stream"] = {"schema": schemas.answer(operation.events)}
    failure = {"application/json": {"schema": schemas.answer(answers.Error)}}
    responses: Json = {"200": {"description": "What was asked for.", "content": content}} if content else {}
    return {**responses, "default": {"description": "A failure.", "content": failure}}
