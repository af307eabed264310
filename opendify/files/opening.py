"""Turns `FILE_STORE_URL` into a store; drivers are imported only when they are asked for."""

import importlib.util
from pathlib import Path
from urllib.parse import unquote, urlsplit

from opendify.files.base import FileStore
from opendify.files.s3_location import Credentials, read_s3_location
from opendify.settings import Settings, SettingsError
from opendify.stores.urls import anchored


def open_file_store(url: str, data_dir: Path, *, credentials: Credentials | None = None) -> FileStore:
    """The store that `url` names; nothing is contacted or written before its first use.

    `file:///data/NAME` is a folder in `data_dir`, any other relative path starts at the
    folder above it, and four slashes make a path absolute. `s3://BUCKET/PREFIX` is an
    object storage, which `credentials` or else the environment open.

    Raises:
        ValueError: The URL names no store; the message shows none of its secrets.
    """
    scheme = url.partition("://")[0].lower()
    if scheme == "file":
        from opendify.files.disk import DiskFiles

        return DiskFiles(folder_path(url, data_dir))
    if scheme == "s3":
        location = read_s3_location(url)
        if importlib.util.find_spec("boto3") is None:
            raise ValueError("s3:// needs the extra opendify[s3], which is not installed")
        from opendify.files.s3 import S3Files

        return S3Files(location, data_dir / "file-drafts", credentials=credentials)
    raise ValueError("the file store's URL must start with file:/// or s3://")


def open_configured_files(settings: Settings) -> FileStore:
    """The store that the settings name; nothing is contacted or written before its first use.

    Raises:
        SettingsError: They name none.
    """
    files = settings.files
    credentials = None
    if files.store_access_key and files.store_secret_key:
        credentials = Credentials(access_key=files.store_access_key, secret_key=files.store_secret_key)
    elif files.store_access_key or files.store_secret_key:
        raise SettingsError("FILE_STORE_ACCESS_KEY and FILE_STORE_SECRET_KEY are set together, or neither")
    try:
        return open_file_store(files.store_url, settings.data_dir, credentials=credentials)
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
