"""The `opendify` command."""

import click

from opendify.cli.backup import backup, restore, verify_backup
from opendify.cli.conversations import conversations
from opendify.cli.drain import drain, undrain
from opendify.cli.simulate import simulate


@click.group()
def main() -> None:
    """Makes any Dify app look like an OpenAI model."""


for command in (backup, conversations, drain, restore, simulate, undrain, verify_backup):
    main.add_command(command)
