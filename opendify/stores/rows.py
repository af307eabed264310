"""A conversation as a row, the same for every back end."""

from collections.abc import Sequence
from operator import itemgetter
from typing import Final

import msgspec

from opendify.stores.base import StoredConversation, StoreUnavailable

COLUMNS: Final[tuple[str, ...]] = StoredConversation.__struct_fields__
_texts_of: Final = itemgetter(
    *(at for at, each in enumerate(msgspec.structs.fields(StoredConversation)) if each.type is str)
)


def write_row(conversation: StoredConversation) -> tuple[object, ...]:
    """The columns, in the order of `COLUMNS`."""
    row = msgspec.structs.astuple(conversation)
    if _is_plain("".join(_texts_of(row))):
        return row
    return tuple(storable_text(value) if isinstance(value, str) else value for value in row)


def write_columns(conversation: StoredConversation) -> dict[str, object]:
    """The columns by name."""
    return dict(zip(COLUMNS, write_row(conversation), strict=True))


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
    if _is_plain(text):
        return text
    # "replace" would write a question mark, which people do type.
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").replace("\0", "\ufffd")


def _is_plain(text: str) -> bool:
    return text.isascii() and "\0" not in text
