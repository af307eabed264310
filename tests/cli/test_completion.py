"""Shells complete the command, its options and the models."""

import pytest
from click.testing import CliRunner

from opendify.cli import main
from tests.cli.conftest import Operation


@pytest.mark.parametrize("shell", ["bash", "fish", "zsh"])
def test_a_shell_gets_the_lines_that_it_needs(operation: Operation, shell: str) -> None:
    assert "_OPENDIFY_COMPLETE" in operation.said("completion", shell)


def completed(operation: Operation, *words: str) -> set[str]:
    """What bash is offered for the last of `words`."""
    line = " ".join(("opendify", *words))
    asked = {"COMP_WORDS": line, "COMP_CWORD": str(len(words)), "_OPENDIFY_COMPLETE": "bash_complete"}
    done = CliRunner().invoke(main, env={**operation.environ, **asked}, prog_name="opendify")
    return {offered.partition(",")[2] for offered in done.stdout.splitlines() if offered}


def test_commands_clients_and_models_are_offered(operation: Operation) -> None:
    assert completed(operation, "simu") == {"simulate"}
    assert completed(operation, "check", "--client", "lang") == {"langchain"}
    assert completed(operation, "chat", "b") == {"bot"}
    assert completed(operation, "bench", "x") == set()


def test_a_configuration_that_is_wrong_offers_no_models(operation: Operation) -> None:
    operation.environ["MODEL_CONFIG"] = "{"

    assert completed(operation, "chat", "b") == set()
