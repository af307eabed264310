"""`opendify bench` loads a running service, and says how long its clients waited."""

import re

import pytest

from opendify.app import create_app
from tests.cli.conftest import Operation
from tests.fakes.served_app import served

QUICK = ("--streams", "3", "--seconds", "0.3")


@pytest.fixture
def bench_environ(operation: Operation, dify: str) -> dict[str, str]:
    return {**operation.environ, "DIFY_API_BASE": dify, "DIFY_MESSAGE_TIME_RESOLUTION": "0"}


def test_times_and_rates_of_all_streams_are_told(operation: Operation, bench_environ: dict[str, str]) -> None:
    operation.environ.update(bench_environ)
    with served(create_app(operation.settings)) as url:
        said = operation.said("bench", "--url", f"{url}/v1", "--key", "sk-anna-0123456789", *QUICK)

    for measured in ("first piece", "between pieces", "whole answer"):
        assert re.search(rf"^{measured}( +\d+\.\d){{3}}", said, re.MULTILINE), said
    found = re.search(r"^(\d+) answers, 0 failed, in .* answers and \d+ pieces a second$", said, re.MULTILINE)
    assert found, said
    assert int(found[1]) >= 3


def test_failures_are_counted_by_what_was_said(operation: Operation, bench_environ: dict[str, str]) -> None:
    operation.environ.update(bench_environ)
    with served(create_app(operation.settings)) as url:
        place = ("--url", f"{url}/v1", "--key", "sk-anna-0123456789")
        done = operation.run("bench", "bot", *place, *QUICK, "-m", "FAIL500")

    assert done.exit_code == 1
    assert re.search(r"^\d+ x .*fake upstream error 500", done.stdout, re.MULTILINE), done.stdout
    assert "0 answers" in done.stdout


def test_a_service_that_lists_no_models_without_a_key_says_so(
    operation: Operation, bench_environ: dict[str, str]
) -> None:
    operation.environ.update(bench_environ)
    with served(create_app(operation.settings)) as url:
        refused = operation.refused("bench", "--url", f"{url}/v1", *QUICK)

    assert "--key" in refused
