"""Run requests as read from the wire, refused in each version's words."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from opendify.simulator.errors import DifyError, FieldFault, field_error, missing_field
from opendify.simulator.memory import Json
from opendify.simulator.versions import Quirks

_JSON_BODY = "the JSON body"


@dataclass(frozen=True)
class RunPayload:
    """The body of a run request. `streaming` is `None` when no `response_mode` was sent."""

    inputs: Mapping[str, object]
    query: str
    streaming: bool | None
    files: object
    conversation_id: str | None
    auto_generate_name: bool


def read_user(value: object) -> str:
    """The `user` field, which may be a number but not empty."""
    if not value:
        raise DifyError(400, "invalid_param", "Arg user must be provided.")
    return str(value)


class PayloadReader:
    """Checks one body; `model` is the name of Dify's own payload class."""

    def __init__(self, body: Json, model: str, quirks: Quirks) -> None:
        self._body = body
        self._model = model
        self._quirks = quirks

    def read(self, *, query_required: bool, in_conversation: bool) -> RunPayload:
        """Raises `DifyError` for the first field that is missing or wrong."""
        inputs = self._read_inputs()
        query = self._read_query(required=query_required)
        streaming = self._read_response_mode()
        conversation_id = self._read_conversation_id() if in_conversation else None
        named = self._body.get("auto_generate_name")
        return RunPayload(
            inputs, query, streaming, self._body.get("files"), conversation_id, named is not False
        )

    def _read_inputs(self) -> Mapping[str, object]:
        value = self._required("inputs")
        if isinstance(value, dict):
            return cast("Json", value)
        old = "dictionary update sequence element #0 has length 1; 2 is required"
        raise self._refuse("inputs", "dict_type", "Input should be a valid dictionary", value, old)

    def _read_query(self, *, required: bool) -> str:
        value = self._required("query") if required else self._body.get("query") or ""
        if isinstance(value, str):
            return value.replace("\x00", "")
        if not self._quirks.pydantic_errors:
            return str(value)
        raise self._refuse("query", "string_type", "Input should be a valid string", value, "")

    def _read_response_mode(self) -> bool | None:
        value = self._body.get("response_mode")
        if value is None:
            return None
        if value in {"streaming", "blocking"}:
            return value == "streaming"
        text = "Input should be 'blocking' or 'streaming'"
        raise self._refuse("response_mode", "literal_error", text, value, f"{value} is not a valid choice")

    def _read_conversation_id(self) -> str | None:
        value = self._body.get("conversation_id")
        if value is None or not str(value).strip():
            return None
        try:
            return str(uuid.UUID(str(value)))
        except ValueError:
            text = "Value error, conversation_id must be a valid UUID"
            old = f"{value} is not a valid uuid."
            raise self._refuse("conversation_id", "value_error", text, value, old) from None

    def _required(self, name: str) -> object:
        if self._body.get(name) is None:
            raise missing_field(self._model, name, self._body, self._quirks, _JSON_BODY)
        return self._body[name]

    def _refuse(self, name: str, kind: str, text: str, value: object, old: str) -> DifyError:
        return field_error(FieldFault(self._model, name, kind, text, value, old), self._quirks)
