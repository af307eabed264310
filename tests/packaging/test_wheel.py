"""A wheel has all that the `opendify` command needs, and serves from any folder."""

import zipfile
from pathlib import Path

import pytest

from tests.packaging.commands import CONFIGURED, PROJECT, TOOLS, RunCommand, StartScript
from tests.packaging.test_scripts import master_pid, status_of

PROGRAM = "from opendify.cli import main; main()"


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `pip install` would put into an environment beside the dependencies: the wheel, unpacked."""
    from hatchling.builders.wheel import WheelBuilder

    folder = tmp_path_factory.mktemp("wheel")
    (wheel,) = WheelBuilder(str(PROJECT)).build(directory=str(folder), versions=["standard"])
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with nothing but somebody's `.env`, and a module of their own called like ours."""
    folder = tmp_path / "somewhere"
    folder.mkdir()
    lines = [f"{name}={value}" for name, value in CONFIGURED.items()]
    (folder / ".env").write_text("\n".join([*lines, "SERVER_HOST=127.0.0.1", "GUNICORN_WORKERS=1", ""]))
    (folder / "main.py").write_text("raise SystemExit('not this one')\n")
    return folder


def test_it_has_every_module_and_what_the_server_starts_from(installed: Path) -> None:
    modules = {file.relative_to(PROJECT).as_posix() for file in PROJECT.glob("opendify/**/*.py")}
    packed = {file.relative_to(installed).as_posix() for file in installed.glob("opendify/**/*.py")}

    assert packed == modules | {"opendify/wiring/main.py", "opendify/wiring/gunicorn_config.py"}
    assert (installed / "opendify/py.typed").is_file()
    assert "opendify = opendify.cli:main" in next(installed.glob("*.dist-info/entry_points.txt")).read_text()


def test_it_serves_from_a_folder_with_env_file_and_keeps_its_data_there(
    installed: Path, place: Path, start_script: StartScript, free_port: int
) -> None:
    server = start_script(
        TOOLS / "python",
        "-c",
        PROGRAM,
        "serve",
        folder=place,
        PYTHONPATH=str(installed),
        SERVER_PORT=str(free_port),
        DATA_DIR="data",
    )

    assert master_pid(server.get_line("Listening at")) == server.process.pid
    server.get_line("Booting worker")
    assert status_of(free_port, "/health/live") == 200
    assert (place / "data/api-key").is_file()

    server.process.terminate()
    assert server.process.wait(timeout=30) == 0


def test_a_wrong_setting_is_told_in_one_line(installed: Path, place: Path, run_command: RunCommand) -> None:
    refused = run_command(
        TOOLS / "python",
        "-c",
        PROGRAM,
        "serve",
        folder=place,
        PYTHONPATH=str(installed),
        SERVER_PORT="http",
    )

    assert refused.returncode == 2
    assert len(refused.stderr.splitlines()) == 1
    assert "SERVER_PORT" in refused.stderr


def test_gunicorn_s_arguments_are_handed_on(installed: Path, place: Path, run_command: RunCommand) -> None:
    shown = run_command(
        TOOLS / "python",
        "-c",
        PROGRAM,
        "serve",
        "--print-config",
        "--backlog",
        "77",
        folder=place,
        PYTHONPATH=str(installed),
    )

    assert "backlog                            = 77" in shown.stdout, shown.stderr
    assert f"chdir                              = {place}" in shown.stdout
