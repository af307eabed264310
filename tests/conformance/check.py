"""Judges a running OpenAI-compatible server; see README.md beside this file.

`python -m tests.conformance.check --base-url URL/v1 --model NAME [--api-key KEY] [--bad-key KEY]
[--legacy] [--files] [--responses]`
Exit code: 0 without a FAIL, 1 with one, 2 if the server cannot be reached.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Callable

import httpx

from tests.conformance.check_chat import check_chat
from tests.conformance.check_errors import check_errors
from tests.conformance.check_files import check_files
from tests.conformance.check_legacy import check_legacy
from tests.conformance.check_models import check_models
from tests.conformance.check_responses import check_responses
from tests.conformance.check_stream import check_stream
from tests.conformance.check_transport import check_transport
from tests.conformance.judge import Finding, Judge, Target


def run_checks(
    target: Target,
    *,
    legacy: bool = False,
    files: bool = False,
    responses: bool = False,
    report: Callable[[Finding], None] = lambda _: None,
) -> list[Finding]:
    """All findings; each is handed to `report` when it is made.

    Raises:
        httpx.HTTPError: The server cannot be reached, or breaks off an answer.
    """
    checks = [check_models, check_chat, check_stream, check_errors, check_transport]
    optional = [check_legacy] * legacy + [check_files] * files + [check_responses] * responses
    with httpx.Client(timeout=target.timeout_seconds) as http:
        judge = Judge(target, http, report)
        for check in [*checks, *optional]:
            check(judge)
    return judge.findings


def main() -> int:
    """Read the command line, print the findings, count them."""
    parser = argparse.ArgumentParser(description="Judge a running OpenAI-compatible server.")
    parser.add_argument("--base-url", required=True, help="the API's root, with /v1")
    parser.add_argument("--model", required=True)
    parser.add_argument("--api-key")
    parser.add_argument("--bad-key", help="a wrong key; turns the checks of authentication on")
    parser.add_argument("--legacy", action="store_true", help="also check /completions")
    parser.add_argument("--files", action="store_true", help="also check /files")
    parser.add_argument("--responses", action="store_true", help="also check /responses")
    arguments = parser.parse_args()
    target = Target(
        arguments.base_url.rstrip("/"), arguments.model, arguments.api_key or None, arguments.bad_key or None
    )
    try:
        findings = run_checks(
            target,
            legacy=arguments.legacy,
            files=arguments.files,
            responses=arguments.responses,
            report=lambda each: print_line(str(each)),
        )
    except httpx.HTTPError as error:
        print_line(f"{target.base_url} broke off or cannot be reached: {error}")
        return 2
    counted = Counter(finding.level for finding in findings)
    print_line(f"{counted['PASS']} passed, {counted['WARN']} warnings, {counted['FAIL']} failed")
    return 1 if counted["FAIL"] else 0


def print_line(text: str) -> None:
    """To the terminal, at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
