"""Stored keys as lines of JSON; of each key only the digest."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

import msgspec

from opendify.conversation_admin.transfer import Imported
from opendify.stores.backup import WrongFile
from opendify.stores.keys import KeyStore, StoredKey

_ROW = msgspec.json.Decoder(StoredKey)


def export_keys(store: KeyStore, file: BinaryIO) -> None:
    """Write every key as one line of JSON, those that are revoked too."""
    for key in store.all():
        file.write(msgspec.json.encode(key) + b"\n")


def read_keys(file: Path) -> Iterator[StoredKey]:
    """The keys in a file that `export_keys` wrote.

    Raises:
        WrongFile: A line is none; the message has its number.
        OSError: The file cannot be read.
    """
    with file.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                yield _ROW.decode(line)
            except (msgspec.MsgspecError, ValueError):
                raise WrongFile(f"{file}, line {number}: is no stored key") from None


def import_keys(store: KeyStore, keys: Iterable[StoredKey]) -> Imported:
    """Add those that are not there; the others stay as they are, so that none that was revoked comes back."""
    was_added = [store.add(key) for key in keys]
    return Imported(was_added.count(True), was_added.count(False))
