import io
import re
import subprocess
from collections.abc import Callable, Iterator, Mapping

import pytest
from dotenv import dotenv_values

from opendify.settings import PROJECT_FOLDER, SETTINGS, load_server_settings, load_settings

EXAMPLE = (PROJECT_FOLDER / ".env.example").read_text(encoding="utf-8")

VARIABLE = re.compile(r"(?P<off>#?)(?P<name>[A-Z][A-Z0-9_]*)=(?P<text>.*)")
LISTED = {found["name"]: found for line in EXAMPLE.splitlines() if (found := VARIABLE.fullmatch(line))}

FILLED = EXAMPLE.replace("\nDIFY_API_BASE=\n", "\nDIFY_API_BASE=https://dify.example\n").replace(
    "\nMODEL_CONFIG=\n", """\nMODEL_CONFIG='{"translator": "app-1", "writer": {"api_key": "app-2"}}'\n"""
)


class RecordingEnvironment(Mapping[str, str]):
    """Holds `variables`, and remembers which names were asked for."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        self._variables = variables
        self.asked: set[str] = set()

    def __getitem__(self, name: str) -> str:
        self.asked.add(name)
        return self._variables[name]

    def __iter__(self) -> Iterator[str]:
        raise AssertionError("Settings are asked for by name")

    def __len__(self) -> int:
        return len(self._variables)


def read_as_python_dotenv(text: str) -> dict[str, str]:
    values = dotenv_values(stream=io.StringIO(text), interpolate=False)
    return {name: value for name, value in values.items() if value is not None}


def read_as_docker(text: str) -> dict[str, str]:
    """Take each line that is no comment as it stands, as `docker run --env-file` does.

    Source: https://docs.docker.com/reference/cli/docker/container/run/#env
    """
    lines = (line.lstrip() for line in text.splitlines())
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def read_as_bash(text: str) -> dict[str, str]:
    done = subprocess.run(
        ["bash", "-c", "set -a; source /dev/stdin; env -0"],
        input=text,
        env={"PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert done.stderr == ""
    values = dict(line.split("=", 1) for line in done.stdout.split("\0") if line)
    return {name: value for name, value in values.items() if name in LISTED}


READERS = [read_as_python_dotenv, read_as_docker, read_as_bash]


def uncommented() -> str:
    return "".join(f"{found['name']}={found['text']}\n" for found in LISTED.values())


def test_the_example_lists_every_variable_that_the_code_reads_and_no_other() -> None:
    environ = RecordingEnvironment(
        {"DIFY_API_BASE": "https://dify.example", "MODEL_CONFIG": '{"a": "app-1"}'}
    )

    load_settings(environ)
    load_server_settings(environ)

    assert environ.asked == set(LISTED)


def test_the_documented_settings_are_those_of_the_example() -> None:
    assert {variable for doc in SETTINGS for variable in doc.variables} == set(LISTED)


def test_no_variable_is_listed_twice() -> None:
    names = [found["name"] for line in EXAMPLE.splitlines() if (found := VARIABLE.fullmatch(line))]

    assert len(names) == len(set(names))


def test_only_the_two_that_must_be_filled_in_stand_without_a_comment_sign() -> None:
    assert [name for name, found in LISTED.items() if not found["off"]] == ["DIFY_API_BASE", "MODEL_CONFIG"]


def test_the_listed_defaults_are_the_real_ones() -> None:
    defaults = {doc.name: doc.default for doc in SETTINGS}

    assert {name: found["text"] for name, found in LISTED.items()} == {
        name: defaults.get(name, "") for name in LISTED
    }


def test_values_mean_the_same_to_every_reader() -> None:
    assert not [found["text"] for found in LISTED.values() if re.search(r"[\s\"'$#\\]", found["text"])]


@pytest.mark.parametrize("read", READERS)
def test_the_file_parses_alike(read: Callable[[str], dict[str, str]]) -> None:
    assert read(EXAMPLE) == {"DIFY_API_BASE": "", "MODEL_CONFIG": ""}


@pytest.mark.parametrize("read", READERS)
def test_the_file_with_its_comment_signs_removed_parses_alike(read: Callable[[str], dict[str, str]]) -> None:
    assert read(uncommented()) == {name: found["text"] for name, found in LISTED.items()}


@pytest.mark.parametrize("read", READERS)
def test_two_values_filled_in_are_enough(read: Callable[[str], dict[str, str]]) -> None:
    settings = load_settings(read(FILLED))

    assert [(model.name, model.api_key, model.api_base) for model in settings.models] == [
        ("translator", "app-1", "https://dify.example/v1"),
        ("writer", "app-2", "https://dify.example/v1"),
    ]


def test_removing_the_comment_signs_changes_nothing() -> None:
    needed = {"DIFY_API_BASE": "https://dify.example", "MODEL_CONFIG": '{"a": "app-1"}'}
    all_set = read_as_python_dotenv(uncommented()) | needed

    assert load_settings(all_set) == load_settings(needed)
    assert load_server_settings(all_set) == load_server_settings(needed)
