"""Turns `FILE_STORE_URL` into a store; drivers are imported only when they are asked for."""

from pathlib import Path
from urllib.parse import unquote, urlsplit

from opendify.files.base import FileStore
from opendify.settings import Settings, SettingsError
from opendify.stores.opening import anchored


def open_file_store(url: str, data_dir: Path) -> FileStore:
    """The store that `url` names; nothing is contacted or written before its first use.

    `file:///data/NAME` is a folder in `data_dir`, any other relative path starts at the
    folder above it, and four slashes make a path absolute.

    Raises:
        ValueError: The URL names no store; the message shows none of its secrets.
    """
    if url.partition("://")[0].lower() == "file":
        from opendify.files.disk import DiskFiles

        return DiskFiles(folder_path(url, data_dir))
    raise ValueError("the file store's URL must start with file:///")


def open_configured_files(settings: Settings) -> FileStore:
    """The store that the settings name; nothing is contacted or written before its first use.

    Raises:
        SettingsError: They name none.
    """
    try:
        return open_file_store(settings.files.store_url, settings.data_dir)
    except ValueError as error:
        raise SettingsError(f"FILE_STORE_URL: {error}") from None


def folder_path(url: str, data_dir: Path) -> Path:
    """The folder that a `file:///` URL names, absolute.

    Raises:
        ValueError: It names none, or the data folder itself.
    """
    parts = urlsplit(url)
    path = unquote(parts.path.removeprefix("/")).rstrip("/")
    if parts.netloc or parts.query or parts.fragment or not path:
        raise ValueError("a folder's URL is file:///data/NAME, or file:////absolute/path, and has no options")
    found = anchored(path, data_dir)
    if found == data_dir.absolute():
        raise ValueError("the file store needs a folder of its own, and this is the data folder")
    return found
