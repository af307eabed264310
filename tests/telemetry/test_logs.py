"""What a log line says, and that none is lost."""

import json
import logging
import re
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml

from opendify.errors import InternalError
from opendify.settings import PROJECT_FOLDER
from opendify.stores.base import StoreUnavailable
from opendify.telemetry.logs import REQUEST_LOGGER, JsonFormatter, TextFormatter

DEPLOY = PROJECT_FOLDER / "deploy/logging"
ENDED: Mapping[str, object] = {
    "name": REQUEST_LOGGER,
    "levelno": logging.INFO,
    "levelname": "INFO",
    "msg": "request ended",
    "created": 1_800_000_000.25,
    "request_id": "req_1",
    "method": "POST",
    "route": "/v1/chat/completions",
    "status": 200,
    "outcome": "whole",
    "seconds": 1.5,
    "stream": True,
}


def record_of(**more: object) -> logging.LogRecord:
    return logging.makeLogRecord({**ENDED, **more})


def test_a_line_for_people() -> None:
    said = TextFormatter().format(record_of()).partition(" - ")[2]

    assert said == (
        "INFO - request ended request_id=req_1 method=POST route=/v1/chat/completions status=200 "
        "outcome=whole seconds=1.5000 stream=true"
    )


def test_what_is_asked_for_besides_stands_below_the_line() -> None:
    plain = TextFormatter().format(record_of())

    assert TextFormatter().format(record_of(exc_info=(None, None, None))) == plain
    assert TextFormatter().format(record_of(stack_info="Stack:\n  here")) == f"{plain}\nStack:\n  here"


def test_a_line_for_programs() -> None:
    assert json.loads(JsonFormatter().format(record_of())) == {
        "time": "2027-01-15T08:00:00.250Z",
        "level": "info",
        "logger": "opendify.requests",
        "message": "request ended",
        "request_id": "req_1",
        "method": "POST",
        "route": "/v1/chat/completions",
        "status": 200,
        "outcome": "whole",
        "seconds": 1.5,
        "stream": True,
    }


def broken() -> None:
    try:
        prompt = {"secret": 1}
        prompt["my own words"]
    except KeyError as error:
        raise InternalError("a message that quotes my own words") from error


@pytest.mark.parametrize("formatter", [TextFormatter(), JsonFormatter()], ids=["text", "json"])
def test_an_exception_shows_where_it_came_from_and_not_what_it_quotes(formatter: logging.Formatter) -> None:
    try:
        broken()
    except InternalError:
        line = formatter.format(record_of(levelno=logging.ERROR, exc_info=sys.exc_info()))

    assert "in broken" in line
    assert "builtins.KeyError" in line
    assert "opendify.errors.InternalError" in line
    # Python shows lines of the code, and these tests' words stand in it.
    shown = re.sub(r"^ *(prompt|raise)\b.*$|(\\n *)(prompt|raise)\b.*?\\n", "", line, flags=re.MULTILINE)
    assert "my own words" not in shown


def test_an_exception_of_the_system_says_what_is_wrong() -> None:
    try:
        Path("/nowhere/at/all").read_bytes()
    except OSError:
        line = TextFormatter().format(record_of(levelno=logging.ERROR, exc_info=sys.exc_info()))

    assert line.endswith("builtins.FileNotFoundError: No such file or directory")


def test_a_warning_is_one_line_that_names_the_first_cause() -> None:
    error = StoreUnavailable("a path")
    error.__cause__ = sqlite3.OperationalError("database or disk is full")
    warning = record_of(levelno=logging.WARNING, msg="no answer", exc_info=(type(error), error, None))

    cause = "sqlite3.OperationalError: database or disk is full"
    told = json.loads(JsonFormatter().format(warning))
    assert TextFormatter().format(warning).endswith(f" cause={cause!r}")
    assert (told["cause"], "exception" in told) == (cause, False)
    assert warning.exc_info, "other handlers, as Sentry's, see all of it"


def test_requests_go_to_stdout_and_all_else_to_stderr() -> None:
    program = (
        "import logging\nfrom opendify.telemetry.logs import configure_logging\nconfigure_logging('info')\n"
        "logging.getLogger('opendify.requests').info('of a request')\nlogging.warning('of the service')"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], check=True, cwd=PROJECT_FOLDER, capture_output=True, text=True
    )

    assert done.stdout.endswith(" - INFO - of a request\n")
    assert done.stderr.endswith(" - WARNING - of the service\n")
    assert len((done.stdout + done.stderr).splitlines()) == 2


def test_lines_of_requests_can_be_left_out() -> None:
    program = (
        "import logging\nfrom opendify.settings.logs import LogSettings\n"
        "from opendify.telemetry.logs import configure_logging\n"
        "configure_logging('info', LogSettings(requests=False))\n"
        "logging.getLogger('opendify.requests').info('of a request')\nlogging.warning('of the service')"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], check=True, cwd=PROJECT_FOLDER, capture_output=True, text=True
    )

    assert done.stdout == ""
    assert "of the service" in done.stderr


WRITERS = """
import logging, os, sys
from pathlib import Path
from opendify.settings.logs import LogSettings
from opendify.telemetry.logs import configure_logging
configure_logging("info", LogSettings(file=Path(sys.argv[1]), file_max_megabytes=1, file_backup_count=9))
logging.getLogger().handlers[:-1] = []
children = []
for worker in range(4):
    child = os.fork()
    if child == 0:
        for number in range(2500):
            logging.info("line", extra={"worker": worker, "number": number, "filler": "x" * 200})
        os._exit(0)
    children.append(child)
for child in children:
    os.waitpid(child, 0)
"""


def test_processes_that_share_a_file_lose_no_line_when_it_is_put_aside(tmp_path: Path) -> None:
    file = tmp_path / "logs" / "opendify.log"
    subprocess.run([sys.executable, "-c", WRITERS, str(file)], check=True, cwd=PROJECT_FOLDER)

    files = list(file.parent.glob("opendify.log*"))
    lines = [line for each in files for line in each.read_text().splitlines()]
    assert len(files) >= 3
    assert len(lines) == len(set(lines)) == 10_000


# What is shipped beside the code reads these very lines.


def fluent_bit(name: str) -> Mapping[str, str]:
    """A parser of Fluent Bit's configuration."""
    text = (DEPLOY / "fluent-bit-parsers.conf").read_text()
    sections = [dict(re.findall(r"^ +(\w+) +(.*)$", part, re.MULTILINE)) for part in text.split("[PARSER]")]
    return next(section for section in sections if section.get("Name") == name)


def test_fluent_bit_understands_a_line_for_people() -> None:
    parser = fluent_bit("opendify_text")
    expression = re.compile(parser["Regex"].replace("(?<", "(?P<"))
    plain = logging.makeLogRecord({"msg": "a server is away", "levelname": "WARNING"})

    found = expression.fullmatch(TextFormatter().format(record_of()))
    assert found is not None
    assert (found["level"], found["message"]) == ("INFO", "request ended")
    assert found["fields"].startswith("request_id=req_1 ")
    assert datetime.strptime(found["time"], parser["Time_Format"].replace("%L", "%f")).year == 2027  # noqa: DTZ007
    alone = expression.fullmatch(TextFormatter().format(plain))
    assert alone is not None
    assert (alone["message"], alone["fields"]) == ("a server is away", None)


def test_fluent_bit_understands_the_time_of_a_line_for_programs() -> None:
    parser = fluent_bit("opendify_json")
    line = json.loads(JsonFormatter().format(record_of()))

    time = datetime.strptime(line[parser["Time_Key"]], parser["Time_Format"].replace("%L", "%f"))  # noqa: DTZ007
    assert time.replace(tzinfo=UTC).timestamp() == 1_800_000_000.25


def _in_filebeat() -> Iterator[str]:
    told = yaml.safe_load((DEPLOY / "filebeat.yml").read_text())
    for processor in told["processors"]:
        yield from (field["from"] for field in processor.get("rename", {}).get("fields", ()))
        yield from filter(None, [processor.get("timestamp", {}).get("field")])


def test_filebeat_renames_only_what_there_is() -> None:
    fault = (ValueError, ValueError(), None)
    lines = [
        JsonFormatter().format(record_of(error="upstream_error", levelno=level, exc_info=fault))
        for level in (logging.WARNING, logging.ERROR)
    ]
    there = {f"opendify.{name}" for line in lines for name in json.loads(line)}

    assert set(_in_filebeat()) <= there


def test_filebeat_reads_the_time_as_it_is_written() -> None:
    told = yaml.safe_load((DEPLOY / "filebeat.yml").read_text())
    (layout,) = next(each["timestamp"]["layouts"] for each in told["processors"] if "timestamp" in each)

    # Go's way to write a layout is the time itself, of its own birthday.
    as_expression = re.sub(r"\d", r"\\d", layout.replace(".", r"\.").replace("999", "000"))
    assert re.fullmatch(as_expression, json.loads(JsonFormatter().format(record_of()))["time"])
