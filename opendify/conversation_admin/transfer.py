"""Stored conversations as lines of JSON."""

import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import msgspec

from opendify.stores.backup import WrongFile
from opendify.stores.base import ConversationStore, StoredConversation

_ROW = msgspec.json.Decoder(StoredConversation)


@dataclass(frozen=True, slots=True)
class Imported:
    """How many were added, and how many were there already and are left as they were."""

    added: int
    present: int


def export_rows(store: ConversationStore, file: BinaryIO) -> int:
    """Write every conversation as one line of JSON; how many."""
    count = 0
    for conversation in store.all():
        file.write(msgspec.json.encode(conversation) + b"\n")
        count += 1
    return count


def is_export(file: Path) -> bool:
    """Whether `file` begins as one that `export_rows` wrote; of a store with nothing in it that is empty."""
    with file.open("rb") as lines:
        first = lines.readline(1_000_000)
    if not first:
        return True
    try:
        _ROW.decode(first)
    except (msgspec.MsgspecError, ValueError):
        return False
    return True


def read_rows(file: Path) -> Iterator[StoredConversation]:
    """The conversations in a file that `export_rows` wrote.

    Raises:
        WrongFile: A line is none; the message has its number.
        OSError: The file cannot be read.
    """
    with file.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                yield _ROW.decode(line)
            except (msgspec.MsgspecError, ValueError):
                raise WrongFile(f"{file}, line {number}: is no exported conversation") from None


def import_rows(store: ConversationStore, rows: Iterable[StoredConversation]) -> Imported:
    """Add what is not there; what is there may have gone on since, and stays."""
    added, present, claim = 0, 0, secrets.token_hex(12)
    for row in rows:
        if store.save(row, claim=claim):
            added += 1
        else:
            present += 1
    return Imported(added, present)
