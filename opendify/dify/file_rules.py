"""What `GET /parameters` tells of files: which ones an app and its inputs take, and how large ones.

Source: Dify's `core/app/app_config/features/file_upload` and `common/parameters_mapping`
"""

from collections.abc import Mapping
from typing import Final

from opendify.records import FileRules

_MEGABYTE: Final = 1024**2
_SIZE_LIMITS: Final = {
    "image": "image_file_size_limit",
    "video": "video_file_size_limit",
    "audio": "audio_file_size_limit",
    "document": "file_size_limit",
}


def takes_files(file_upload: object) -> bool | None:
    """Older servers nest the switch under `image`; absent means unknown."""
    if not isinstance(file_upload, Mapping):
        return None
    return bool(file_upload.get("enabled")) or bool(_old_form(file_upload).get("enabled"))


def read_app_rules(file_upload: object) -> FileRules:
    """Which files the app takes; the older form knows images alone."""
    if not isinstance(file_upload, Mapping):
        return FileRules()
    if file_upload.get("enabled"):
        return _read_rules(file_upload, most=_number(file_upload.get("number_limits")))
    image = _old_form(file_upload)
    methods = _names(image.get("transfer_methods"))
    return FileRules(frozenset({"image"}), methods=methods, most=_number(image.get("number_limits")))


def read_input_rules(kind: str, field: Mapping[str, object]) -> FileRules:
    """Which files an input of type `file` or `file-list` takes."""
    # Of a single file Dify tells a `max_length` that was meant for text.
    return _read_rules(field, most=1 if kind == "file" else _number(field.get("max_length")))


def read_size_limits(system_parameters: object) -> Mapping[str, int]:
    """Bytes by type of file, of the limits that are there."""
    if not isinstance(system_parameters, Mapping):
        return {}
    megabytes = {type_: _number(system_parameters.get(name)) for type_, name in _SIZE_LIMITS.items()}
    return {type_: number * _MEGABYTE for type_, number in megabytes.items() if number}


def _read_rules(shape: Mapping[str, object], *, most: int | None) -> FileRules:
    extensions = (name.lower().removeprefix(".") for name in _names(shape.get("allowed_file_extensions")))
    return FileRules(
        types=_names(shape.get("allowed_file_types")),
        extensions=frozenset(extensions),
        methods=_names(shape.get("allowed_file_upload_methods")),
        most=most,
    )


def _old_form(file_upload: Mapping[str, object]) -> Mapping[str, object]:
    image = file_upload.get("image")
    return image if isinstance(image, Mapping) else {}


def _names(values: object) -> frozenset[str]:
    return (
        frozenset(value for value in values if isinstance(value, str))
        if isinstance(values, list)
        else frozenset()
    )


def _number(value: object) -> int | None:
    """A limit; 0 and what is no number limit nothing. The environment of a server may make it text."""
    if isinstance(value, str) and value.isascii() and value.isdigit():
        value = int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None
