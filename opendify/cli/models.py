"""`opendify models`: what clients will see."""

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from opendify.cli.addresses import own_service
from opendify.cli.api import Api, ApiFailure
from opendify.cli.running import command_failures_told
from opendify.settings import load_settings, models_are_configured


@click.command()
def models() -> None:
    """List the models of the table with their aliases; nobody is asked.

    Where no model is configured, the service that runs on this machine is asked for its own.
    """
    with command_failures_told():
        if models_are_configured():
            _show_table()
        else:
            _show_served(own_service().url)


def _show_table() -> None:
    table = Table(box=None, padding=(0, 2, 0, 0))
    for title in ("model", "aliases", "server", "falls back to", "description"):
        table.add_column(title)
    for app in load_settings().models:
        cells = (app.name, ", ".join(app.aliases), app.api_base, ", ".join(app.fallbacks), app.description)
        table.add_row(*(escape(cell or "") for cell in cells))
    Console(highlight=False).print(table)


def _show_served(url: str) -> None:
    try:
        with Api(url, key=None) as api:
            served = api.models()
    except ApiFailure:
        raise click.ClickException(
            f"no model is configured (MODEL_CONFIG), and no service answers at {url}; "
            "./start_development.sh starts one with demo models"
        ) from None
    click.echo(f"No model is configured here; {url} serves:", err=True)
    click.echo("\n".join(served))
