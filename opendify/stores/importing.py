"""Reads the files in which BetterOpenDify kept which chat is which Dify conversation.

Its ages differ: a JSON file of ids, later of objects, then a SQLite table. None of
them says whose a chat is; Open WebUI's own database does.
"""

import json
import shutil
import sqlite3
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from opendify.stores.backup import WrongFile

_SQLITE_MAGIC: Final = b"SQLite format 3\0"
# Best first: what releases and their forks have called the same thing.
_CHAT: Final = ("webui_chat_id", "openwebui_chat_id", "open_webui_chat_id", "chat_id")
_CONVERSATION: Final = ("dify_conversation_id", "conversation_id")
_USER: Final = ("dify_user", "webui_user_id", "user_id", "user")
_CREATED: Final = ("created_at", "created")
_USED: Final = ("last_used", "last_used_at", "updated_at")
# Its upgrade leaves the old rows in such a table, and may leave them there alone.
_TABLES: Final = ("conversation_mappings", "conversation_mappings_backup")
_MILLISECONDS_FROM: Final = 1e11


@dataclass(frozen=True, slots=True)
class OldMapping:
    """One chat; times are Unix seconds, None where the file does not tell. `user` is Dify's, or empty."""

    chat_id: str
    conversation_id: str
    user: str
    created_at: float | None
    last_used: float | None


@dataclass(frozen=True, slots=True)
class OldMappings:
    """What a file holds; `unreadable` counts what names no chat or no conversation."""

    mappings: Sequence[OldMapping]
    unreadable: int


def is_sqlite_file(file: Path) -> bool:
    """Whether the file begins as SQLite's do."""
    with file.open("rb") as opened:
        return opened.read(len(_SQLITE_MAGIC)) == _SQLITE_MAGIC


def read_old_mappings(file: Path) -> OldMappings:
    """The chats in `conversation_mappings.db` or `conversation_mappings.json`, of any age.

    Raises:
        WrongFile: It is neither.
        OSError: It cannot be read.
    """
    rows = list(_database_rows(file) if is_sqlite_file(file) else _json_rows(file))
    read = [mapping for row in rows if (mapping := _read_mapping(row))]
    # The newest of several entries for one chat is the one that was in use.
    newest = {each.chat_id: each for each in sorted(read, key=lambda each: each.last_used or 0)}
    return OldMappings(list(newest.values()), len(rows) - len(read))


def read_chat_users(file: Path) -> Mapping[str, str]:
    """Whose each chat is: from Open WebUI's `webui.db`, or a JSON object of chat id to user id.

    Raises:
        WrongFile: It is neither.
        OSError: It cannot be read.
    """
    if not is_sqlite_file(file):
        users = _json(file)
        if not isinstance(users, dict) or not all(isinstance(user, str) for user in users.values()):
            raise WrongFile(f"{file}: must be a JSON object of chat id to user id")
        return users
    with _opened(file) as connection:
        if not {"id", "user_id"} <= set(_columns(connection, "chat")):
            raise WrongFile(f"{file}: has no table `chat` with `id` and `user_id`, as Open WebUI's has")
        rows = connection.execute("SELECT id, user_id FROM chat WHERE user_id IS NOT NULL")
        return {str(chat): str(user) for chat, user in rows}


def _database_rows(file: Path) -> Iterator[Mapping[str, object]]:
    with _opened(file) as connection:
        tables = [table for table in _TABLES if _columns(connection, table)]
        if not tables:
            raise WrongFile(f"{file}: has no table `{_TABLES[0]}`, as BetterOpenDify's has")
        for table in tables:
            columns = _columns(connection, table)
            for row in connection.execute(f'SELECT * FROM "{table}"'):  # noqa: S608 - One of two constants.
                yield dict(zip(columns, row, strict=True))


def _json_rows(file: Path) -> Iterator[Mapping[str, object]]:
    shape = _json(file)
    if isinstance(shape, list):
        yield from (row if isinstance(row, dict) else {} for row in shape)
    elif isinstance(shape, dict):
        for chat_id, entry in shape.items():
            fields = entry if isinstance(entry, dict) else {_CONVERSATION[0]: entry}
            yield {**fields, _CHAT[0]: chat_id}
    else:
        raise WrongFile(f"{file}: must be a JSON object of chat id to conversation")


def _json(file: Path) -> object:
    try:
        shape: object = json.loads(file.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError):
        raise WrongFile(f"{file}: is neither a SQLite database nor JSON") from None
    return shape


@contextmanager
def _opened(file: Path) -> Iterator[sqlite3.Connection]:
    """The database for reading; neither it nor its folder is written to."""
    with ExitStack() as stack:
        address = f"{file.absolute().as_uri()}?mode=ro"
        if _has_log(file):
            if file.with_name(f"{file.name}-wal").exists():
                # The newest rows lie in the log, and SQLite reads it only where it may write.
                folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="opendify-import-"))
                address = _copy(file, Path(folder) / "copy.db").as_uri()
            else:
                address += "&immutable=1"
        try:
            yield stack.enter_context(closing(sqlite3.connect(address, uri=True)))
        except sqlite3.Error as error:
            raise WrongFile(f"{file}: {error}") from error


def _has_log(file: Path) -> bool:
    """Whether the database is in WAL mode.

    Source: https://www.sqlite.org/fileformat.html, section 1.3.3
    """
    with file.open("rb") as opened:
        return opened.read(19)[18:] == b"\x02"


def _copy(file: Path, copy: Path) -> Path:
    shutil.copyfile(file, copy)
    shutil.copyfile(f"{file}-wal", f"{copy}-wal")
    return copy


def _columns(connection: sqlite3.Connection, table: str) -> list[str]:
    return [name for (name,) in connection.execute("SELECT name FROM pragma_table_info(?)", (table,))]


def _read_mapping(row: Mapping[str, object]) -> OldMapping | None:
    chat_id, conversation_id = _text(row, _CHAT), _text(row, _CONVERSATION)
    if not chat_id or not conversation_id:
        return None
    return OldMapping(chat_id, conversation_id, _text(row, _USER), _time(row, _CREATED), _time(row, _USED))


def _text(row: Mapping[str, object], names: Iterable[str]) -> str:
    texts = (value.strip() for name in names if isinstance(value := row.get(name), str))
    return next((text for text in texts if text), "")


def _time(row: Mapping[str, object], names: Iterable[str]) -> float | None:
    times = (_seconds(row.get(name)) for name in names)
    return next((time for time in times if time is not None), None)


def _seconds(value: object) -> float | None:
    """Unix seconds from a number of seconds or milliseconds, or from a date, which is UTC unless it says."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return _seconds_of_date(str(value))
    if not 0 < number < float("inf"):
        return None
    return number / 1000 if number >= _MILLISECONDS_FROM else number


def _seconds_of_date(text: str) -> float | None:
    try:
        date = datetime.fromisoformat(text)
    except ValueError:
        return None
    return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()
