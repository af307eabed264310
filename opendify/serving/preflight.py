"""`python -m opendify.serving.preflight` says whether a server would start; nobody is contacted."""

import importlib.util
import os
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Final

from opendify.access.keys import KeyRing
from opendify.conversation_admin.administration import open_configured_answers
from opendify.files.opening import open_configured_files
from opendify.settings import ServerSettings, Settings, SettingsError
from opendify.settings.check import check
from opendify.stores.opening import open_store

_OF_ONE_MACHINE: Final = ("sqlite:", "file:", "auto", "off")

API_KEYS_NEEDED: Final = "API_KEYS must be set where several machines share a conversation store"


def faults_of(settings: Settings, server: ServerSettings) -> list[str]:
    """What would stop a start with settings that are right in themselves, a line each."""
    return [*_worker_faults(server), *_folder_faults(settings.data_dir), *_store_faults(settings)]


def require_keys(settings: Settings) -> None:
    """Look that no machine would have to make keys that the others do not know.

    Raises:
        SettingsError: It would, since there is no store that could have any.
    """
    keys = KeyRing(settings)
    if keys.shares_its_store and keys.needs_first_keys and settings.access.key_store == "off":
        raise SettingsError(API_KEYS_NEEDED)


def require_secret_key(settings: Settings) -> None:
    """Look that no machine would have to sign links in a way that the others do not know.

    Raises:
        SettingsError: It would.
    """
    urls = (settings.conversation_store_url, settings.answer_store, settings.files.store_url)
    shares = any(not url.lower().startswith(_OF_ONE_MACHINE) for url in urls)
    if settings.files.proxy and shares and not settings.files.secret_key:
        raise SettingsError(
            "SECRET_KEY must be set where FILES_PROXY signs links and several machines share a store"
        )


def _worker_faults(server: ServerSettings) -> Iterator[str]:
    if server.worker_class == "gevent" and importlib.util.find_spec("gevent") is None:
        yield "GUNICORN_WORKER_CLASS: gevent is not installed"


def _folder_faults(folder: Path) -> Iterator[str]:
    """Whether there is a folder that can be written to, or could be made."""
    nearest = next(each for each in (folder, *folder.parents) if os.access(each, os.F_OK))
    if not nearest.is_dir():
        yield f"DATA_DIR: {nearest} is no folder"
    elif not os.access(nearest, os.W_OK | os.X_OK):
        yield f"DATA_DIR: this user may not write to {nearest}"


def _store_faults(settings: Settings) -> Iterator[str]:
    for require in (require_keys, require_secret_key, _require_file_store):
        try:
            require(settings)
        except SettingsError as error:
            yield from error.faults
    try:
        with closing(open_store(settings.conversation_store_url, settings.data_dir)):
            pass
    except ValueError as error:
        yield f"CONVERSATION_STORE_URL: {error}"
        return
    try:
        answers = open_configured_answers(settings)
    except SettingsError as error:
        yield from error.faults
    else:
        if answers:
            answers.close()


def _require_file_store(settings: Settings) -> None:
    open_configured_files(settings).close()


if __name__ == "__main__":
    sys.exit(check(faults_of))
