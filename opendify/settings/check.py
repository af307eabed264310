"""Whether a server would start with the configuration as it is."""

import sys
from collections.abc import Callable
from typing import TypeVar

from opendify.configuration.readers import SettingsError
from opendify.settings.loading import load_server_settings, load_settings

_Built = TypeVar("_Built")


def check() -> int:
    """Say whether a server would start with this configuration, or what is wrong; the exit code."""
    faults: list[str] = []
    settings = _load_or_note(load_settings, faults)
    server = _load_or_note(load_server_settings, faults)
    if settings is None or server is None:
        # Some settings are read for both.
        sys.stderr.writelines(f"{fault}\n" for fault in dict.fromkeys(faults))
        return 2
    sys.stdout.write(
        f"configuration ok: {_counted(len(settings.models), 'model')}, "
        f"{_counted(len(settings.api_keys), 'API key')}, {settings.environment}, "
        f"{_counted(server.workers, 'worker')} on {server.host}:{server.port}\n"
    )
    return 0


def _load_or_note(load: Callable[[], _Built], faults: list[str]) -> _Built | None:
    try:
        return load()
    except SettingsError as error:
        faults += error.faults
        return None


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
