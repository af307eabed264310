"""`opendify audit`: whether the audit log is as it was written."""

import sys

import click

from opendify.access.opening import open_audit_log
from opendify.cli.running import command_failures_told, counted
from opendify.settings import load_settings


@click.group()
def audit() -> None:
    """Look after the log of key and admin actions, refused access and limits that were hit."""


@audit.command()
def verify() -> None:
    """Check that no line was changed, removed or moved; the exit code is 1 where one was.

    The last line shows the newest entry's digest: kept elsewhere, it proves later that
    nothing before it was written anew.
    """
    with command_failures_told():
        head, findings = open_audit_log(load_settings()).verify()
    for finding in findings:
        click.echo(f"{finding.place}: {finding.text}", err=finding.is_fault)
    faults = sum(finding.is_fault for finding in findings)
    if faults:
        click.echo(f"The audit log is not as it was written: {counted(faults, 'fault')}", err=True)
        sys.exit(1)
    click.echo(f"The audit log is as it was written: {head.number} entries, the last is {head.digest}")
