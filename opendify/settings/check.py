"""Whether a server would start with the configuration as it is."""

import contextlib
import sys
from collections.abc import Callable, Sequence
from typing import TypeVar

from opendify.configuration.readers import SettingsError
from opendify.settings.loading import load_server_settings, load_settings, names_given
from opendify.settings.server import ServerSettings
from opendify.settings.service import Settings
from opendify.settings.unknown import unknown_names

_Built = TypeVar("_Built")


LookFurther = Callable[[Settings, ServerSettings], Sequence[str]]
"""What is wrong with settings that are right in themselves, a line each."""


def check(look_further: LookFurther = lambda *_: ()) -> int:
    """Say whether a server would start with this configuration, or what is wrong; the exit code.

    Names that are no setting are told beside what is wrong, since one may be the reason;
    a server that starts tells them itself.
    """
    faults: list[str] = []
    settings = _load_or_note(load_settings, faults)
    server = _load_or_note(load_server_settings, faults)
    if settings and server:
        faults += look_further(settings, server)
    if settings is None or server is None or faults:
        warn_of_unknown_names()
        # Some settings are read for both.
        sys.stderr.writelines(f"{fault}\n" for fault in dict.fromkeys(faults))
        return 2
    sys.stdout.write(
        f"configuration ok: {_counted(len(settings.models), 'model')}, "
        f"{_counted(len(settings.api_keys), 'API key')}, {settings.environment}, "
        f"{_counted(server.workers, 'worker')} on {server.host}:{server.port}\n"
    )
    return 0


def warn_of_unknown_names() -> None:
    """A line on stderr for each variable that is no setting, and was perhaps meant for one."""
    # One that cannot be read is a fault, which is told with the others.
    with contextlib.suppress(SettingsError):
        lines = unknown_names(*names_given())
        sys.stderr.writelines(f"warning: {line}\n" for line in lines)


def _load_or_note(load: Callable[[], _Built], faults: list[str]) -> _Built | None:
    try:
        return load()
    except SettingsError as error:
        faults += error.faults
        return None


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
