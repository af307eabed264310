"""What commands share that ask a running service, this machine's own or another."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import click

from opendify.cli.addresses import own_service
from opendify.cli.api import Api, ApiFailure
from opendify.cli.running import command_failures_told

_Command = TypeVar("_Command", bound=Callable[..., Any])


def asks_service(command: _Command) -> _Command:
    """The options that name it."""
    for option in (
        click.option("--key", envvar="OPENDIFY_API_KEY", help="A key of the service (OPENDIFY_API_KEY)."),
        click.option("--url", help="The service, ending in /v1.  [default: this machine's]"),
    ):
        command = option(command)
    return command


@contextmanager
def opened_service(url: str | None, key: str | None, model: str | None) -> Iterator[tuple[Api, str]]:
    """The service, and the model that is asked: the first of its table where none is named.

    A failure before that ends the command with one line.
    """
    models: tuple[str, ...] = (model,) if model else ()
    if not (model and url):
        with command_failures_told():
            own = own_service()
        models = models or (own.models if not url else ())
        # Another service has no business with this one's key.
        url, key = (url, key) if url else (own.url, key or own.key)
    with Api(url, key) as api:
        yield api, models[0] if models else _first_model(api)


def _first_model(api: Api) -> str:
    try:
        models = api.models()
    except ApiFailure as failure:
        raise click.ClickException(str(failure)) from None
    if not models:
        raise click.ClickException(f"{api.url} lists no models without a key: --key, or OPENDIFY_API_KEY")
    return models[0]
