"""`opendify models`: what clients will see."""

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from opendify.cli.running import operating


@click.command()
def models() -> None:
    """List the models of the table with their aliases; nobody is asked."""
    with operating() as operator:
        apps = operator.settings.models
    table = Table(box=None, padding=(0, 2, 0, 0))
    for title in ("model", "aliases", "server", "falls back to", "description"):
        table.add_column(title)
    for app in apps:
        cells = (app.name, ", ".join(app.aliases), app.api_base, ", ".join(app.fallbacks), app.description)
        table.add_row(*(escape(cell or "") for cell in cells))
    Console(highlight=False).print(table)
