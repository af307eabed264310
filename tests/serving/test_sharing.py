"""What a master holds for all its workers, and what it leaves out."""

import subprocess
import sys

from opendify.settings import PROJECT_FOLDER


def run(program: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=PROJECT_FOLDER, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_what_every_worker_would_load_is_loaded_and_out_of_the_collectors_sight() -> None:
    program = (
        "import gc, sys\n"
        "from opendify.serving.sharing import share_memory\n"
        "share_memory()\n"
        "print('httpcore' in sys.modules, 'prometheus_client.values' in sys.modules)\n"
        "print(gc.get_freeze_count() > 10_000)\n"
    )

    assert run(program) == "True True\nTrue"


def test_a_server_loads_no_command_line_of_its_http_client() -> None:
    program = "import sys, opendify.app; print('rich' in sys.modules, 'pygments' in sys.modules)"

    assert run(program) == "False False"


def test_an_app_without_signed_users_needs_no_cryptography() -> None:
    program = "import sys, opendify.app; print('jwt' in sys.modules, 'cryptography' in sys.modules)"

    assert run(program) == "False False"
