"""What the master says and makes when it starts."""

import sys

from opendify.access.keys import KeyRing
from opendify.settings import SettingsError, load_settings


def announce_keys() -> None:
    """Make the first key where none is configured, and say where it lies.

    Ends the process with one line when the settings are wrong or the key's folder
    cannot be written: a service that nobody can call is no service.
    """
    try:
        settings = load_settings()
        keys = KeyRing(settings)
        files = keys.first_key_files()
    except SettingsError as error:
        sys.exit(str(error))
    except OSError as error:
        sys.exit(f"DATA_DIR: the first API key cannot be written ({error.strerror}: {error.filename})")
    if files:
        ordinary, admin = files
        sys.stderr.write(f"No API_KEYS are set: clients use the key in {ordinary}, admins that in {admin}\n")
    elif keys.is_open:
        sys.stderr.write("Any key is accepted, and none\n")
