"""An app's input variables: whose value counts, and what the app would refuse.

Dify itself answers 400 for bad inputs up to 1.12 and again from 1.15 on, but
chatflows and workflows of 1.13 and 1.14 go silent for five minutes instead. So
they are checked here first, with the app's own form.
"""

from collections.abc import Callable, Mapping

from opendify.errors import InvalidInput, InvalidRequest
from opendify.records import AppProfile, InputField
from opendify.settings import DifyApp

_HOW_TO_SEND = (
    'send it in the body as "inputs": {{"{name}": …}} (SDKs: extra_body), or set a default for the model'
)


def merge_inputs(
    app: DifyApp, profile: AppProfile, from_client: Mapping[str, object]
) -> Mapping[str, object]:
    """The client's inputs over the model's defaults, over those of the app's own form.

    Raises:
        InvalidRequest: The client sets an input that the model locks.
    """
    locked = sorted(app.locked_inputs.intersection(from_client))
    if locked:
        raise InvalidRequest(
            f"The input {locked[0]!r} is fixed for this model and cannot be set by a request.",
            param=f"inputs.{locked[0]}",
            code="invalid_input",
        )
    # Dify's web page fills these in for a person; its API does not.
    from_form = {field.name: field.default for field in profile.form or () if field.default is not None}
    return {**from_form, **app.inputs, **from_client}


def check_inputs(inputs: object, profile: AppProfile) -> None:
    """Hold `inputs` against the app's form; inputs that the form does not name pass, as in Dify.

    Raises:
        InvalidInput: With `param: "inputs.NAME"`.
    """
    if not isinstance(inputs, Mapping):
        return
    for field in profile.form or ():
        value = inputs.get(field.name)
        reason = _missing(field) if value is None else _refusal(field, value)
        if reason:
            raise InvalidInput(reason, param=f"inputs.{field.name}")


def _missing(field: InputField) -> str | None:
    if not field.required:
        return None
    how_to_send = _HOW_TO_SEND.format(name=field.name)
    return f"This app requires the input {field.name!r} ({field.type}): {how_to_send}."


def _refusal(field: InputField, value: object) -> str | None:
    check = _CHECKS.get(field.type)
    expected = check(field, value) if check else None
    return f"The input {field.name!r} must be {expected}." if expected else None


def _text(field: InputField, value: object) -> str | None:
    if not isinstance(value, str):
        return "a string"
    if field.max_length and len(value) > field.max_length:
        return f"at most {field.max_length} characters long"
    return None


def _select(field: InputField, value: object) -> str | None:
    if field.options and value not in ("", *field.options):
        return f"one of {', '.join(map(repr, field.options))}"
    return None


def _number(_field: InputField, value: object) -> str | None:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return None
    try:
        float(value or 0) if isinstance(value, str) else float("no number")
    except ValueError:
        return "a number"
    return None


def _checkbox(_field: InputField, value: object) -> str | None:
    is_word = isinstance(value, str) and value.lower() in _BOOLEAN_WORDS
    is_number = isinstance(value, bool | int) and value in (0, 1)
    return None if is_word or is_number else "a boolean"


def _object(_field: InputField, value: object) -> str | None:
    return None if isinstance(value, dict | str) else "an object"


def _file(_field: InputField, value: object) -> str | None:
    return None if isinstance(value, dict) or value == "" else "a file object of Dify's"


def _file_list(field: InputField, value: object) -> str | None:
    if not isinstance(value, list) or not all(isinstance(file, dict) for file in value):
        return "a list of file objects of Dify's"
    if field.max_length and len(value) > field.max_length:
        return f"a list of at most {field.max_length} files"
    return None


_BOOLEAN_WORDS = frozenset({"", "true", "false", "1", "0", "yes", "no", "on", "off"})
_CHECKS: Mapping[str, Callable[[InputField, object], str | None]] = {
    "text-input": _text,
    "paragraph": _text,
    "select": _select,
    "number": _number,
    "checkbox": _checkbox,
    "json_object": _object,
    "file": _file,
    "file-list": _file_list,
}
