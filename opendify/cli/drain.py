"""`opendify drain` and `opendify undrain`: out of a load balancer's rotation, and back."""

import click

from opendify.cli.running import operating


@click.command()
def drain() -> None:
    """Ask for no more traffic: `/health/ready` is 503 from now on.

    Everything that comes is still served. The next start ends it.
    """
    with operating() as operator:
        path = operator.settings.drain_path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    click.echo(f"{path} asks for no more traffic")


@click.command()
def undrain() -> None:
    """Take traffic again."""
    with operating() as operator:
        path = operator.settings.drain_path
        path.unlink(missing_ok=True)
    click.echo(f"{path} is gone: traffic is taken")
