"""What a master holds for all its workers, and what it leaves out."""

import os
import subprocess
import sys

import pytest

from opendify.settings import PROJECT_FOLDER

# What Gunicorn does up to the fork, where production starts with the least that it needs.
START = """
import sys
import gunicorn_config, main
from opendify.serving.sharing import share_memory
from opendify.serving.threaded_worker import ThreadedWorker
class App:
    callable = main.app
class Worker:
    app = App
share_memory(Worker)
"""

# Of libraries and rooms of ours, by who needs it: files that name models, their TOML, signed users, stores
# on other machines, logs in files, error reports, traces, attached pictures and sound, terminals.
LEFT_OUT = [
    *("yaml", "tomllib", "jwt", "cryptography", "psycopg", "psycopg_pool", "redis", "boto3", "botocore"),
    *("concurrent_log_handler", "sentry_sdk", "opentelemetry", "imagesize", "tinytag", "rich", "pygments"),
    *("gevent", "opendify.cli", "opendify.doctor", "opendify.simulator"),
]


def run(program: str, **settings: str) -> str:
    environment = {
        "PATH": os.environ["PATH"],
        "ENVIRONMENT": "production",
        "MODEL_CONFIG": '{"chat": "app-1"}',
        "DIFY_API_BASE": "http://127.0.0.1:9/v1",
        **settings,
    }
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=PROJECT_FOLDER,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def test_what_every_worker_would_load_is_loaded_and_out_of_the_collectors_sight() -> None:
    program = START + (
        "import gc\n"
        "print('httpcore' in sys.modules, 'prometheus_client.values' in sys.modules)\n"
        "print(gc.get_freeze_count() > 10_000)\n"
    )

    assert run(program) == "True True\nTrue"


def test_a_plain_start_loads_nothing_that_only_some_services_need() -> None:
    assert run(f"{START}print([name for name in {LEFT_OUT} if name in sys.modules])") == "[]"


@pytest.mark.parametrize(
    ("base", "contexts"),
    [("http://127.0.0.1:9/v1", "[False]"), ("https://127.0.0.1:9/v1", "[True]")],
    ids=["plain HTTP", "TLS"],
)
def test_certificates_are_read_once_for_all_workers_where_a_server_shows_any(
    base: str, contexts: str
) -> None:
    program = START + (
        "import gc, ssl\n"
        "gc.unfreeze()\n"
        "contexts = [each for each in gc.get_objects() if isinstance(each, ssl.SSLContext)]\n"
        "print([bool(each.get_ca_certs()) for each in contexts])\n"
    )

    assert run(program, DIFY_API_BASE=base) == contexts
