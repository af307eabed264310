"""The `opendify` command."""

import click

from opendify import __version__
from opendify.cli.audit import audit
from opendify.cli.backup import backup, restore, verify_backup
from opendify.cli.bench import bench
from opendify.cli.chat import chat
from opendify.cli.check import check
from opendify.cli.completion import completion
from opendify.cli.conversations import conversations
from opendify.cli.drain import drain, undrain
from opendify.cli.keys import keys
from opendify.cli.models import models
from opendify.cli.serve import serve
from opendify.cli.simulate import simulate


@click.group()
@click.version_option(__version__, prog_name="OpenDify")
def main() -> None:
    """Makes any Dify app look like an OpenAI model."""


for command in (
    audit,
    backup,
    bench,
    chat,
    check,
    completion,
    conversations,
    drain,
    keys,
    models,
    restore,
    serve,
    simulate,
    undrain,
    verify_backup,
):
    main.add_command(command)
