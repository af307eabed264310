"""The `opendify` command."""

import click

from opendify.cli.simulate import simulate


@click.group()
def main() -> None:
    """Makes any Dify app look like an OpenAI model."""


main.add_command(simulate)
