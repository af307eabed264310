"""`opendify completion`: what makes a shell complete the command, its options and the models."""

import contextlib

import click
from click.shell_completion import CompletionItem, get_completion_class

from opendify.settings import SettingsError, load_settings

_SHELLS = ("bash", "fish", "zsh")
_HELP = """\b
For bash, in ~/.bashrc:  eval "$(opendify completion bash)"
For zsh, in ~/.zshrc:    eval "$(opendify completion zsh)"
For fish:                opendify completion fish > ~/.config/fish/completions/opendify.fish
"""


@click.command(epilog=_HELP)
@click.argument("shell", type=click.Choice(_SHELLS))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the lines that make SHELL complete `opendify`."""
    kind = get_completion_class(shell)
    if kind is None:
        raise click.UsageError(f"{shell} cannot be completed")
    command = context.find_root().command
    click.echo(kind(command, {}, "opendify", "_OPENDIFY_COMPLETE").source())


def complete_model(_context: click.Context, _parameter: click.Parameter, begun: str) -> list[CompletionItem]:
    """The models of the table that go on as `begun`; none where it cannot be read."""
    with contextlib.suppress(SettingsError):
        return [CompletionItem(name) for name in load_settings().model_names if name.startswith(begun)]
    return []
