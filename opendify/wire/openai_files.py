"""`/v1/files`: what clients send beside a file, and what they are told.

Source: https://platform.openai.com/docs/api-reference/files
"""

import re
from collections.abc import Mapping
from typing import Annotated, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from opendify.wire.openai_errors import invalid_request

_FormT = TypeVar("_FormT", bound=BaseModel)
_HOUR, _MONTH = 3_600, 2_592_000


def _as_purpose(text: str) -> str:
    if not re.fullmatch(r"[a-z][a-z0-9_-]{0,63}", text):
        raise ValueError("expected a purpose such as 'user_data', 'vision' or 'assistants'.")
    return text


class _Form(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class ExpiresAfter(_Form):
    """When a file is to be deleted: so many seconds after it was uploaded."""

    anchor: Literal["created_at"]
    seconds: Annotated[int, Field(ge=_HOUR, le=_MONTH)]


class FileUpload(_Form):
    """The fields of an upload. OpenAI's purposes are a list that grows: any word is taken."""

    purpose: Annotated[str, AfterValidator(_as_purpose)]
    expires_after: ExpiresAfter | None = None


class FileListing(_Form):
    """The query of a listing; `after` is the id of the last file of the page before."""

    after: Annotated[str, Field(max_length=100)] | None = None
    limit: Annotated[int, Field(ge=1, le=10_000)] = 10_000
    order: Literal["asc", "desc"] = "desc"
    purpose: Annotated[str, Field(max_length=64)] | None = None


def parse_fields(shape: type[_FormT], fields: Mapping[str, str]) -> _FormT:
    """Validate a form's fields, or a query's; empty ones count as left out.

    Raises:
        InvalidRequest: They are not of the shape; `param` is the field.
    """
    nested = _nested({name: value for name, value in fields.items() if value})
    try:
        return shape.model_validate(nested)
    except ValidationError as error:
        raise invalid_request(error, nested) from None


def _nested(fields: Mapping[str, str]) -> dict[str, object]:
    """`{"a[b]": "c"}` as `{"a": {"b": "c"}}`, which is how SDKs write objects into forms."""
    nested: dict[str, object] = {}
    for name, value in fields.items():
        inner = re.fullmatch(r"(\w+)\[(\w+)\]", name)
        if inner is None:
            nested.setdefault(name, value)
            continue
        group = nested.setdefault(inner[1], {})
        if isinstance(group, dict):
            group[inner[2]] = value
    return nested
