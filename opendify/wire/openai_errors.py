"""A body that does not fit its shape → the error that OpenAI gives for it."""

import json
from collections.abc import Mapping, Sequence
from typing import TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from opendify.errors import InvalidRequest

RequestT = TypeVar("RequestT", bound=BaseModel)

_UNPARSABLE = (
    "We could not parse the JSON body of your request. The body must be one JSON object in UTF-8, "
    'for example {"model": "my-app", "messages": [{"role": "user", "content": "Hi"}]}.'
)
_BOUNDS = {
    "greater_than_equal": ("below minimum value", ">=", "ge", "below_min_value"),
    "greater_than": ("below minimum value", ">", "gt", "below_min_value"),
    "less_than_equal": ("above maximum value", "<=", "le", "above_max_value"),
    "less_than": ("above maximum value", "<", "lt", "above_max_value"),
}
_JSON_NAMES = {
    bool: "a boolean",
    int: "an integer",
    float: "a decimal",
    str: "a string",
    list: "an array",
    dict: "an object",
    type(None): "null",
}


def parse_request(shape: type[RequestT], body: bytes) -> RequestT:
    """Validate the raw body once.

    Raises:
        InvalidRequest: Not JSON, or not of the shape; `param` is the path of the
            first fault, `code` OpenAI's for its kind.
    """
    try:
        return shape.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        if first["type"] != "json_invalid":
            raise invalid_request(error, _reparse(body)) from None
        if "recursion" in first["msg"]:
            raise InvalidRequest("The JSON body of your request is nested too deeply.") from None
    # What the strict parser refuses may still be JSON: a text cut inside an emoji has a lone surrogate.
    repaired = _reparse(body)
    try:
        return shape.model_validate(repaired)
    except ValidationError as error:
        raise invalid_request(error, repaired) from None


def _reparse(body: bytes) -> object:
    try:
        text = json.dumps(json.loads(body), ensure_ascii=False)
        parsed: object = json.loads(text.encode("utf-8", "replace"))
    except (ValueError, RecursionError):
        raise InvalidRequest(_UNPARSABLE) from None
    return parsed


def invalid_request(error: ValidationError, body: object) -> InvalidRequest:
    """The first fault in OpenAI's words; `body` is what was validated."""
    if not isinstance(body, dict):
        return InvalidRequest(_UNPARSABLE)
    first = error.errors(include_url=False)[0]
    path, value, found = _locate(first["loc"], body, is_missing=first["type"] == "missing")
    if first["type"] in {"union_tag_not_found", "union_tag_invalid"}:
        path, value = f"{path}.type", value.get("type") if isinstance(value, dict) else None
    if first["type"] == "union_tag_not_found" or (first["type"] == "missing" and not found):
        return InvalidRequest(
            f"Missing required parameter: '{path}'.", param=path, code="missing_required_parameter"
        )
    message, code = _describe(first, path, value)
    return InvalidRequest(message, param=path, code=code)


def _locate(location: Sequence[int | str], body: object, *, is_missing: bool) -> tuple[str, object, bool]:
    """The fault's path as clients know it, its value, and whether that is there.

    pydantic puts the tags of unions into its locations; what is neither a key nor
    an index of the body is such a tag.
    """
    path, here, found = "", body, True
    for number, step in enumerate(location):
        is_gap = is_missing and number == len(location) - 1
        if number and isinstance(location[number - 1], int) and _is_tag_of(here, step):
            continue
        if isinstance(here, list) and isinstance(step, int) and step < len(here):
            path, here = f"{path}[{step}]", here[step]
        elif isinstance(here, dict) and step in here:
            path, here = f"{path}.{step}" if path else str(step), here[step]
        elif isinstance(here, dict) and is_gap:
            path, here, found = f"{path}.{step}" if path else str(step), None, False
    return path, here, found


def _is_tag_of(here: object, step: int | str) -> bool:
    return isinstance(here, dict) and here.get("type") == step


def _describe(fault: ErrorDetails, path: str, value: object) -> tuple[str, str]:
    kind, context = fault["type"], fault.get("ctx") or {}
    if kind in _BOUNDS:
        return _describe_bound(kind, context, path, value)
    if kind == "too_short":
        return (
            f"Invalid '{path}': empty array. Expected an array with minimum length "
            f"{context['min_length']}, but got an empty array instead.",
            "empty_array",
        )
    if kind in {"too_long", "string_too_long"}:
        noun = "array" if kind == "too_long" else "string"
        return f"Invalid '{path}': {noun} too long. Expected a maximum length of {context['max_length']}.", (
            f"{noun}_above_max_length"
        )
    if kind == "string_too_short":
        return (
            f"Invalid '{path}': empty string. Expected a string with minimum length "
            f"{context['min_length']}, but got an empty string instead.",
            "empty_string",
        )
    if kind in {"literal_error", "enum", "union_tag_invalid"}:
        supported = context.get("expected") or context.get("expected_tags")
        return f"Invalid value: {_shown(value)}. Supported values are: {supported}.", "invalid_value"
    if kind == "value_error":
        return f"Invalid '{path}': {context['error']}", "invalid_value"
    given = _JSON_NAMES.get(type(value), "another value")
    return f"Invalid type for '{path}': {_expectation(fault)}, but got {given} instead.", "invalid_type"


def _describe_bound(kind: str, context: Mapping[str, object], path: str, value: object) -> tuple[str, str]:
    words, sign, key, code = _BOUNDS[kind]
    bound = context[key]
    number = "decimal" if isinstance(bound, float) else "integer"
    shown = int(bound) if isinstance(bound, float) and bound.is_integer() else bound
    message = f"Invalid '{path}': {number} {words}. Expected a value {sign} {shown}, but got {value} instead."
    return message, f"{number}_{code}"


def _expectation(fault: ErrorDetails) -> str:
    words = {"list": "array", "dictionary": "object"}
    expected = fault["msg"].removeprefix("Input should be ").removeprefix("a valid ").removeprefix("an ")
    noun = words.get(expected.split(" ")[0], expected)
    return f"expected {'an' if noun[:1] in 'aeiou' else 'a'} {noun}"


def _shown(value: object) -> str:
    """A client's own value, short enough to repeat."""
    text = repr(value) if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 100 else f"{text[:99]}…"
