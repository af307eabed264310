"""A conversation store's SQLite file: copied while it is written to, checked, put in another's place."""

import os
import shutil
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Final

from opendify.stores.base import StoreUnavailable

_BUSY_SECONDS: Final = 10.0


class WrongFile(Exception):
    """A file cannot be used for what is asked; the message names it and the fault."""


def copy_database(source: Path, target: Path) -> None:
    """Copy the committed state of `source` into the empty file `target`; writers go on meanwhile.

    Raises:
        WrongFile: There is no database.
        StoreUnavailable: It cannot be read, or the copy not be written.
    """
    if not source.is_file():
        raise WrongFile(f"{source}: there is no such database yet")
    try:
        with (
            closing(sqlite3.connect(source, timeout=_BUSY_SECONDS)) as original,
            closing(sqlite3.connect(target)) as copy,
        ):
            # In one step: it reads one snapshot, where steps would begin anew after each write.
            original.backup(copy)
            # A copy is one file, which needs no `-wal` beside it.
            copy.execute("PRAGMA journal_mode = DELETE")
    except sqlite3.Error as error:
        raise StoreUnavailable(f"{source}: {error}") from error


def check_database(path: Path) -> int:
    """Read the whole file; how many conversations are in it.

    Raises:
        WrongFile: It is damaged, or holds no conversations.
    """
    try:
        with closing(sqlite3.connect(path)) as connection:
            faults = [fault for (fault,) in connection.execute("PRAGMA integrity_check")]
            if faults != ["ok"]:
                raise WrongFile(f"{path}: the database is damaged: {faults[0]}")
            (count,) = connection.execute("SELECT count(*) FROM conversations").fetchone()
            return int(count)
    except sqlite3.Error as error:
        raise WrongFile(f"{path}: {error}") from error


def replace_database(path: Path, new: Path) -> Path | None:
    """Put the file `new`, which must lie on the same file system, in the place of `path`.

    Returns:
        Where the old file is kept; None where there was none.

    Raises:
        WrongFile: A process has the database open; it would go on with the old one.
    """
    _give_to_owner_of(path if path.exists() else path.parent, new)
    if not path.exists():
        new.replace(path)
        return None
    _take_out_of_use(path)
    kept = path.with_name(f"{path.name}.before-restore-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}")
    while kept.exists():
        kept = kept.with_name(f"{kept.name}+")
    _keep(path, kept)
    for suffix in ("-wal", "-shm"):
        # Left in place, the log of the old file would be taken for one of the new.
        if path.with_name(f"{path.name}{suffix}").exists():
            path.with_name(f"{path.name}{suffix}").rename(kept.with_name(f"{kept.name}{suffix}"))
    new.replace(path)
    return kept


def _keep(path: Path, kept: Path) -> None:
    """A second name for the file, so that at no moment there is none at `path`."""
    try:
        os.link(path, kept)
    except OSError:
        # Some shared folders know no second names.
        shutil.copy2(path, kept)


def _give_to_owner_of(place: Path, new: Path) -> None:
    """What root restores the service's own user must be able to write."""
    owner = place.stat()
    if os.geteuid() == 0:
        os.chown(new, owner.st_uid, owner.st_gid)


def _take_out_of_use(path: Path) -> None:
    """Fold the log into the file, which SQLite does only for the last who has it open."""
    try:
        with closing(sqlite3.connect(path, timeout=1.0)) as connection:
            (mode,) = connection.execute("PRAGMA journal_mode = DELETE").fetchone()
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            return
        mode = "wal"
    except sqlite3.DatabaseError:
        return  # Damaged: that may be why it is to be replaced.
    if mode != "delete":
        raise WrongFile(f"{path} is in use; stop the service first")
