"""`opendify backup`, `verify-backup` and `restore`: everything stored, in one proved file."""

from datetime import UTC, datetime
from pathlib import Path

import click

from opendify.access.opening import open_audit_log
from opendify.cli.running import counted, operating
from opendify.conversation_admin.archive import (
    Manifest,
    Restored,
    is_backup,
    read_backup,
    restore_backup,
    write_backup,
)
from opendify.conversation_admin.retention import backup_name, outlived
from opendify.stores.backup import WrongFile

_FILE = click.Path(path_type=Path, dir_okay=False)
_COUNT = click.IntRange(min=0)


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--force", is_flag=True, help="Replace FILE, if it is an older backup.")
@click.option("--keep-hourly", type=_COUNT, default=24, show_default=True, help="Hours, for a folder.")
@click.option("--keep-daily", type=_COUNT, default=30, show_default=True, help="Days, for a folder.")
def backup(file: Path, *, force: bool, keep_hourly: int, keep_daily: int) -> None:
    """Write all stored conversations and keys to FILE, while the service goes on.

    The file is read back and checked before it appears under its name. Where FILE is
    a folder, the backup gets a name by its time, and older ones go: one is kept of
    each hour, and then one of each day.
    """
    into_folder, now = file.is_dir(), datetime.now(UTC)
    if into_folder:
        folder, file = file, file / backup_name(now)
    if file.exists() and not (force and is_backup(file)):
        said = "is no backup" if force else "exists; --force replaces an older backup"
        raise click.ClickException(f"{file} {said}")
    with operating() as operator:
        manifest = write_backup(operator.place, file)
        # `/metrics` tells how old it is.
        noted = operator.settings.last_backup_path
        noted.parent.mkdir(parents=True, exist_ok=True)
        noted.touch()
    click.echo(f"{file}: {_contents(manifest)}, sha256 {manifest.sha256}")
    if into_folder:
        _remove_outlived(folder, now, hourly=keep_hourly, daily=keep_daily)


@click.command("verify-backup")
@click.argument("files", type=_FILE, nargs=-1, required=True)
def verify_backup(files: tuple[Path, ...]) -> None:
    """Prove that each of FILES is whole, by reading all of it."""
    faults = 0
    for file in files:
        try:
            manifest = read_backup(file)
        except (WrongFile, OSError) as fault:
            faults += 1
            click.echo(str(fault), err=True)
        else:
            click.echo(f"{file}: {_contents(manifest)} of {manifest.created_at}")
    raise SystemExit(1 if faults else 0)


@click.command()
@click.argument("file", type=_FILE)
@click.option("--yes", is_flag=True, help="Do not ask.")
def restore(file: Path, *, yes: bool) -> None:
    """Bring back what FILE holds, after it is checked.

    A SQLite file is replaced, and the old one is kept beside it; the service must be
    stopped. In Redis and PostgreSQL the conversations that are missing are added; so
    are keys everywhere: one that is there stays, so that none that was revoked comes back.
    """
    with operating() as operator:
        if not yes:
            click.confirm(f"Restore {file} into the stores of conversations and keys?", abort=True)
        restored = restore_backup(operator.place, file)
        if restored.keys:
            log = open_audit_log(operator.settings)
            log.note("key action", action="restore", added=restored.keys.added, present=restored.keys.present)
    _tell(restored)


def _tell(restored: Restored) -> None:
    click.echo(f"{_contents(restored.manifest)} from {restored.manifest.created_at}")
    if restored.imported:
        click.echo(f"{restored.imported.added} added, {restored.imported.present} were there already")
    if restored.kept:
        click.echo(f"the old file is kept as {restored.kept}")
    if restored.keys:
        click.echo(f"keys: {restored.keys.added} added, {restored.keys.present} were there already")
    elif restored.manifest.keys:
        click.echo("keys: none added, since KEY_STORE is off")


def _contents(manifest: Manifest) -> str:
    return f"{counted(manifest.conversations, 'conversation')}, {counted(manifest.keys, 'key')}"


def _remove_outlived(folder: Path, now: datetime, *, hourly: int, daily: int) -> None:
    names = outlived((each.name for each in folder.iterdir()), now, hourly=hourly, daily=daily)
    for name in names:
        (folder / name).unlink(missing_ok=True)
    if names:
        click.echo(f"{counted(len(names), 'older backup')} removed")
