"""A conversation as a row, the same for every back end."""

from collections.abc import Sequence
from dataclasses import fields
from typing import Final

import msgspec

from opendify.stores.base import StoredConversation, StoreUnavailable

COLUMNS: Final[tuple[str, ...]] = tuple(field.name for field in fields(StoredConversation))


def write_row(conversation: StoredConversation) -> dict[str, object]:
    """The columns by name."""
    return {name: _storable(getattr(conversation, name)) for name in COLUMNS}


def read_row(row: Sequence[object]) -> StoredConversation:
    """The conversation in a row of `COLUMNS`.

    Raises:
        StoreUnavailable: The row is none of ours.
    """
    try:
        return msgspec.convert(
            dict(zip(COLUMNS, row, strict=True)), StoredConversation, strict=False, builtin_types=(bytes,)
        )
    except (ValueError, msgspec.ValidationError) as error:
        raise StoreUnavailable(f"a stored conversation cannot be read: {error}") from error


def storable_text(text: str) -> str:
    """`text` with U+FFFD for what no back end can hold: NUL and lone surrogates."""
    if text.isascii() and "\0" not in text:
        return text
    # "replace" would write a question mark, which people do type.
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").replace("\0", "\ufffd")


def _storable(value: object) -> object:
    return storable_text(value) if isinstance(value, str) else value
