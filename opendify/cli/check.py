"""`opendify check`: what is wrong, and what to do."""

import json
from collections.abc import Sequence
from dataclasses import asdict

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from opendify.cli.addresses import service_url
from opendify.cli.clients import CLIENTS, settings_for
from opendify.cli.running import operating
from opendify.doctor import Finding, Level, examine
from opendify.settings import load_server_settings

_MARKS = {Level.OK: "[green]ok[/]", Level.ADVICE: "[yellow]advice[/]", Level.PROBLEM: "[red]problem[/]"}


@click.command()
@click.option("--json", "as_json", is_flag=True, help="A list of findings, for programs.")
@click.option("--client", type=click.Choice(sorted(CLIENTS)), help="Print what to set in this client.")
@click.option("--url", help="How the client reaches this service, such as https://opendify.example/v1.")
def check(*, as_json: bool, client: str | None, url: str | None) -> None:
    """Examine the configuration, every model, the store and the machine.

    The exit code is 0 where all works, 1 where something does not, and 2 where the
    configuration itself is wrong.
    """
    with operating() as operator:
        server = load_server_settings()
        if client:
            address = url or service_url(operator.settings, server, everywhere="HOST")
            click.echo(settings_for(client, address, operator.settings))
            return
        findings = list(examine(operator.settings, server, operator.client, operator.store))
    if as_json:
        click.echo(json.dumps([asdict(each) for each in findings], ensure_ascii=False, indent=2))
    else:
        _show(findings)
    raise SystemExit(any(each.level is Level.PROBLEM for each in findings))


def _show(findings: Sequence[Finding]) -> None:
    table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column()
    for each in findings:
        remedy = f"\n[dim]→ {escape(each.remedy)}[/]" if each.remedy else ""
        table.add_row(_MARKS[each.level], escape(each.subject), f"{escape(each.said)}{remedy}")
    Console(highlight=False).print(table)
