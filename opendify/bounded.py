"""Memory that strangers cannot fill."""

from collections.abc import Hashable
from typing import TypeVar

_Key = TypeVar("_Key", bound=Hashable)
_Value = TypeVar("_Value")


def remember(entries: dict[_Key, _Value], key: _Key, value: _Value, *, most: int) -> _Value:
    """Put `value` into `entries`; where that makes too many, what came first goes."""
    entries.pop(key, None)
    # The order of a dict is that of its making.
    for oldest in list(entries)[: max(0, len(entries) - most + 1)]:
        entries.pop(oldest, None)
    return entries.setdefault(key, value)
