"""A conversation as a row, the same for every back end."""

from collections.abc import Sequence
from typing import Final

import msgspec

from opendify.stores.base import StoredConversation, StoreUnavailable

COLUMNS: Final[tuple[str, ...]] = StoredConversation.__struct_fields__
_TEXTS: Final = tuple(each.name for each in msgspec.structs.fields(StoredConversation) if each.type is str)


def write_row(conversation: StoredConversation) -> dict[str, object]:
    """The columns by name."""
    row = msgspec.structs.asdict(conversation)
    if not _is_plain("".join(map(row.__getitem__, _TEXTS))):
        row |= {name: storable_text(row[name]) for name in _TEXTS}
    return row


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
