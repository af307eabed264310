"""A backup: one zip file with conversations and keys, and a manifest with their checksums.

SQLite's file of conversations goes in as it is; what Redis or PostgreSQL hold, as lines
of JSON. Keys are lines of JSON always: when they are restored, those that are there stay.
"""

import hashlib
import os
import tempfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal

import msgspec

from opendify import __version__
from opendify.conversation_admin.key_transfer import export_keys, import_keys, read_keys
from opendify.conversation_admin.transfer import Imported, export_rows, import_rows, read_rows
from opendify.stores.backup import WrongFile, check_database, copy_database, replace_database
from opendify.stores.base import ConversationStore
from opendify.stores.keys import KeyStore
from opendify.stores.sqlite import SQLiteStore
from opendify.stores.urls import sqlite_path

_MANIFEST: Final = "manifest.json"
_DATABASE: Final = "conversations.db"
_LINES: Final = "conversations.jsonl"
_KEYS: Final = "keys.jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What a backup says of itself; `sha256` is that of `payload`, in hex.

    `keys_sha256` is that of the keys, empty where there are none in it.
    """

    format: Literal["opendify-backup"] = "opendify-backup"
    version: Literal[1] = 1
    created_at: str
    opendify: str
    payload: Literal["conversations.db", "conversations.jsonl"]
    conversations: int
    sha256: str
    # Backups of earlier releases have no keys.
    keys: int = 0
    keys_sha256: str = ""


@dataclass(frozen=True, slots=True)
class Restored:
    """`imported` where rows were added; `kept` is the old file where one was replaced.

    `keys` is None where the backup has none, or there is nowhere to keep them.
    """

    manifest: Manifest
    imported: Imported | None = None
    kept: Path | None = None
    keys: Imported | None = None


@dataclass(frozen=True, slots=True)
class StorePlace:
    """A store, its URL with the folder that its relative paths start from, and the store of keys, if any."""

    store: ConversationStore
    url: str
    data_dir: Path
    keys: KeyStore | None = None

    @property
    def database(self) -> Path | None:
        """SQLite's file; None for a server."""
        return sqlite_path(self.url, self.data_dir) if self.url.lower().startswith("sqlite:") else None


def write_backup(place: StorePlace, file: Path) -> Manifest:
    """Write everything stored to `file`, and read it back; chats go on meanwhile.

    Nothing appears at `file` before it is whole and proved.

    Raises:
        WrongFile: There is nothing to back up, or what was written is not what was read.
        StoreUnavailable: The store cannot be read.
        OSError: The file cannot be written.
    """
    with _working_folder(file.parent) as folder:
        payload, keys = _write_conversations(place, folder), _write_keys(place, folder)
        manifest = Manifest(
            created_at=datetime.now(UTC).isoformat(timespec="seconds"),
            opendify=__version__,
            payload=_DATABASE if place.database else _LINES,
            conversations=_count(payload),
            sha256=_sha256(payload),
            keys=_count(keys) if keys else 0,
            keys_sha256=_sha256(keys) if keys else "",
        )
        draft, payloads = folder / "backup.zip", [each for each in (payload, keys) if each]
        _pack(draft, manifest, payloads)
        for each in payloads:
            each.unlink()
        _unpack(draft, folder)
        draft.replace(file)
    return manifest


def restore_backup(place: StorePlace, file: Path) -> Restored:
    """Bring back what `file` holds, once it is proved to be whole.

    A SQLite store's file is replaced and the old one kept beside it. In all other
    cases the rows that are missing are added; so it is with keys.

    Raises:
        WrongFile: `file` is damaged or no backup, or the database is in use; nothing was changed.
        StoreUnavailable: The store cannot be written to, or a later release wrote the backup.
        OSError: A file cannot be read or written.
    """
    database = place.database
    if database:
        database.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _working_folder(database.parent if database else Path(tempfile.gettempdir())) as folder:
        manifest, payload, keys = _unpack(file, folder)
        restored = _restore_conversations(place, manifest, payload)
        if keys and place.keys:
            return replace(restored, keys=import_keys(place.keys, read_keys(keys)))
        return restored


def _restore_conversations(place: StorePlace, manifest: Manifest, payload: Path) -> Restored:
    if payload.name == _LINES:
        return Restored(manifest, import_rows(place.store, read_rows(payload)))
    restored = SQLiteStore(payload)
    try:
        # Brings the copy to the present schema, and refuses one that is too new.
        restored.ping()
        if place.database is None:
            return Restored(manifest, import_rows(place.store, restored.all()))
    finally:
        restored.close()
    return Restored(manifest, kept=replace_database(place.database, payload))


def read_backup(file: Path) -> Manifest:
    """What `file` says of itself, once it is proved to be whole; nothing is restored.

    Raises:
        WrongFile: It is damaged or no backup.
        OSError: It cannot be read.
    """
    with _working_folder(Path(tempfile.gettempdir())) as folder:
        manifest, _, _ = _unpack(file, folder)
    return manifest


def is_backup(file: Path) -> bool:
    """Whether `file` is a backup, whole or not."""
    try:
        with zipfile.ZipFile(file) as archive:
            return _MANIFEST in archive.namelist()
    except (zipfile.BadZipFile, OSError):
        return False


def _write_conversations(place: StorePlace, folder: Path) -> Path:
    payload = _make_private(folder / (_DATABASE if place.database else _LINES))
    if place.database:
        copy_database(place.database, payload)
    else:
        with payload.open("wb") as lines:
            export_rows(place.store, lines)
    return payload


def _write_keys(place: StorePlace, folder: Path) -> Path | None:
    if place.keys is None:
        return None
    payload = _make_private(folder / _KEYS)
    with payload.open("wb") as lines:
        export_keys(place.keys, lines)
    return payload


def _make_private(file: Path) -> Path:
    os.close(os.open(file, os.O_CREAT | os.O_EXCL, 0o600))
    return file


def _pack(file: Path, manifest: Manifest, payloads: Iterable[Path]) -> None:
    with (
        os.fdopen(os.open(file, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600), "w+b") as opened,
        zipfile.ZipFile(opened, "w", zipfile.ZIP_DEFLATED) as archive,
    ):
        archive.writestr(_MANIFEST, msgspec.json.format(msgspec.json.encode(manifest)))
        for payload in payloads:
            archive.write(payload, payload.name)
    with file.open("rb") as written:
        os.fsync(written.fileno())


def _unpack(file: Path, folder: Path) -> tuple[Manifest, Path, Path | None]:
    """The manifest, and in `folder` the conversations and the keys, which are what the manifest says.

    Raises:
        WrongFile: It is not.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            manifest = msgspec.json.decode(archive.read(_MANIFEST), type=Manifest)
            payload = folder / manifest.payload
            archive.extract(manifest.payload, folder)
            keys = Path(archive.extract(_KEYS, folder)) if manifest.keys_sha256 else None
    except (zipfile.BadZipFile, zlib.error, KeyError, EOFError, msgspec.MsgspecError, NotImplementedError):
        raise WrongFile(f"{file}: is no backup of this program, or is damaged") from None
    _prove(file, payload, manifest.sha256, manifest.conversations, "conversations")
    if keys:
        _prove(file, keys, manifest.keys_sha256, manifest.keys, "keys")
    return manifest, payload, keys


def _prove(file: Path, payload: Path, sha256: str, count: int, what: str) -> None:
    payload.chmod(0o600)
    if _sha256(payload) != sha256:
        raise WrongFile(f"{file}: the checksum is wrong; the file was changed or is damaged")
    if (found := _count(payload)) != count:
        raise WrongFile(f"{file}: holds {found} {what}, and should hold {count}")


def _count(payload: Path) -> int:
    if payload.name == _DATABASE:
        return check_database(payload)
    if payload.name == _KEYS:
        return sum(1 for _ in read_keys(payload))
    return sum(1 for _ in read_rows(payload))


def _sha256(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


@contextmanager
def _working_folder(parent: Path) -> Iterator[Path]:
    """On the file system where the result will lie, so that it gets there by a rename."""
    with tempfile.TemporaryDirectory(prefix=".opendify-", dir=parent) as folder:
        yield Path(folder)
