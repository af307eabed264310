"""References to items of kept responses, which the AI SDK sends in place of the assistant's own words."""

import functools
import re
from collections.abc import Callable, Sequence
from typing import Final

from opendify.errors import InvalidRequest, ItemNotFound
from opendify.responses.keeping import KeptResponse
from opendify.wire.openai_chat import InputItem

Find = Callable[[str], KeptResponse | None]
"""The response with an id, if it may be known."""

# Each asks the store.
MOST_REFERENCES: Final = 500
_OF_A_MESSAGE: Final = re.compile(r"msg_([0-9a-f]{24})([0-9]{4})?")


def with_items(items: Sequence[InputItem], find: Find) -> list[InputItem]:
    """The items, messages in the place of what refers to them; references to thoughts stay, and say nothing.

    Raises:
        ItemNotFound: It is kept no longer, or never was.
        InvalidRequest: There are too many.
        ResponsesUnavailable: Nobody knows.
    """
    references = [n for n, item in enumerate(items) if item.id and not item.id.startswith("rs_")]
    if len(references) > MOST_REFERENCES:
        raise InvalidRequest(
            f"Invalid 'input': it refers to more than {MOST_REFERENCES} items; send them as messages.",
            param="input",
            code="invalid_value",
        )
    resolved, find = list(items), functools.cache(find)
    for number in references:
        resolved[number] = _item(items[number].id or "", find, number)
    return resolved


def _item(item_id: str, find: Find, number: int) -> InputItem:
    named = _OF_A_MESSAGE.fullmatch(item_id)
    kept = find(f"resp_{named[1]}") if named else None
    for item in [*kept.input, *kept.output] if kept else ():
        if item.get("id") == item_id:
            return InputItem.model_validate(item)
    raise ItemNotFound(
        f"Item with id {item_id[:100]!r} not found. What was not stored, or is stored no longer, has to be "
        "sent as a message; clients do so with 'store': false.",
        param=f"input[{number}].id",
    )
