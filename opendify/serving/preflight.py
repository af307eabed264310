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
from opendify.settings import ServerSettings, Settings, SettingsError
from opendify.settings.check import check
from opendify.stores.opening import open_store

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
    try:
        require_keys(settings)
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


if __name__ == "__main__":
    sys.exit(check(faults_of))
