"""`opendify serve`: the server for production, from a checkout or from an installed wheel."""

import os
import sys
from collections.abc import Sequence
from typing import Final

import click

from opendify.serving.preflight import faults_of
from opendify.settings import SERVER_FOLDER, load_server_settings, set_missing
from opendify.settings.check import check

# glibc would keep a heap for each of many threads, and what large bodies took: with 12 pictures of 9 MB
# at a time a worker held 396 MB afterwards, and holds 199 MB so.
_DEFAULTS: Final = {
    "ENVIRONMENT": "production",
    "MALLOC_ARENA_MAX": "2",
    "MALLOC_MMAP_THRESHOLD_": str(1024**2),
}


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("arguments", metavar="[GUNICORN ARGUMENTS]...", nargs=-1, type=click.UNPROCESSED)
def serve(arguments: Sequence[str]) -> None:
    """Serve until TERM, as production does; all settings come from the environment and `.env`.

    Outside of a checkout `.env` is that of the folder in which this is called, and `data`
    is made there. The configuration is checked first: the exit code is 2 where it is wrong.
    """
    set_missing(_DEFAULTS)
    if fault := check(faults_of):
        sys.exit(fault)
    click.echo(f"Starting OpenDify ({load_server_settings().environment})")
    # Nothing of this process is needed any more, and signals are to reach Gunicorn.
    sys.stdout.flush()
    config = str(SERVER_FOLDER / "gunicorn_config.py")
    command = [sys.executable, "-m", "gunicorn", "--config", config, "main:app", *arguments]
    os.execv(sys.executable, command)  # noqa: S606 - Without a shell on purpose.
