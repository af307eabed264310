"""`opendify backup` and `opendify restore`: everything stored, in one proved file."""

from pathlib import Path

import click

from opendify.cli.running import counted, operating
from opendify.conversation_admin.archive import is_backup, restore_backup, write_backup

_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command()
@click.argument("file", type=_FILE)
@click.option("--force", is_flag=True, help="Replace FILE, if it is an older backup.")
def backup(file: Path, *, force: bool) -> None:
    """Write all stored conversations to FILE, while the service goes on.

    The file is read back and checked before it appears under its name.
    """
    if file.exists() and not (force and is_backup(file)):
        said = "is no backup" if force else "exists; --force replaces an older backup"
        raise click.ClickException(f"{file} {said}")
    with operating() as operator:
        manifest = write_backup(operator.place, file)
    click.echo(f"{file}: {counted(manifest.conversations, 'conversation')}, sha256 {manifest.sha256}")


@click.command()
@click.argument("file", type=_FILE)
@click.option("--yes", is_flag=True, help="Do not ask.")
def restore(file: Path, *, yes: bool) -> None:
    """Bring back what FILE holds, after it is checked.

    A SQLite file is replaced, and the old one is kept beside it; the service must be
    stopped. In Redis and PostgreSQL the conversations that are missing are added.
    """
    with operating() as operator:
        if not yes:
            click.confirm(f"Restore {file} into the conversation store?", abort=True)
        restored = restore_backup(operator.place, file)
    click.echo(
        f"{counted(restored.manifest.conversations, 'conversation')} from {restored.manifest.created_at}"
    )
    if restored.imported:
        click.echo(f"{restored.imported.added} added, {restored.imported.present} were there already")
    if restored.kept:
        click.echo(f"the old file is kept as {restored.kept}")
