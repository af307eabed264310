"""HUP: new settings for new workers, or one line that says why not, and the old ones stay."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.waiting import wait_until
from tests.resilience.checkouts import Checkout, checked_out

DIFY = "http://127.0.0.1:9/v1"
MODELS = '{"first": "app-one"}'
REFUSED = "HUP changes nothing, and the workers stay: "


@pytest.fixture(params=["preloaded", "not preloaded"])
def checkout(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Checkout]:
    """A running server with two workers; production preloads the app."""
    told = {"ENVIRONMENT": "production"}
    if request.param == "not preloaded":
        told = {"ENVIRONMENT": "development", "GUNICORN_RELOAD": "false"}
    with checked_out(tmp_path, AUTH_MODE="open", GUNICORN_WORKERS="2", **told) as checkout:
        checkout.write_env(DIFY_API_BASE=DIFY, MODEL_CONFIG=MODELS)
        checkout.program.start()
        assert wait_until(lambda: len(checkout.program.workers()) == 2, 20)
        yield checkout


def hang_up(checkout: Checkout) -> None:
    checkout.program.signal(signal.SIGHUP)


def await_refusal(checkout: Checkout, number: int) -> str:
    """What the log says of the HUP that was the `number`th to be refused."""
    assert wait_until(lambda: checkout.program.log.count(REFUSED) == number, 10), checkout.program.log
    return checkout.program.log.rpartition(REFUSED)[2]


def test_new_workers_get_new_settings_and_nobody_is_refused_meanwhile(checkout: Checkout) -> None:
    models_file = checkout.folder / "models.json"
    models_file.write_text('{"second": {"api_key": "app-two"}}')
    checkout.write_env(DIFY_API_BASE=DIFY, MODEL_CONFIG_FILE="models.json", GUNICORN_GRACEFUL_TIMEOUT="77")
    old = checkout.program.workers()

    hang_up(checkout)

    # Each asking is a new connection, and fails the test where it is refused.
    assert wait_until(lambda: checkout.models() == ["second"], 20)
    assert wait_until(lambda: not any(worker.is_running() for worker in old), 20)
    assert "graceful_timeout=77" in checkout.program.log
    assert "Exception" not in checkout.program.log, checkout.program.log

    models_file.write_text('{"third": "app-three"}')
    hang_up(checkout)

    assert wait_until(lambda: checkout.models() == ["third"], 20)


def test_the_secret_files_are_read_again(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text("sk-old")
    with checked_out(tmp_path, API_KEYS_FILE=str(keys), GUNICORN_WORKERS="1") as checkout:
        checkout.write_env(DIFY_API_BASE=DIFY, MODEL_CONFIG=MODELS)
        checkout.program.start()
        assert checkout.accepts_key("sk-old")

        keys.write_text("sk-new")
        hang_up(checkout)

        assert wait_until(lambda: checkout.accepts_key("sk-new"), 20)
        assert wait_until(lambda: not checkout.accepts_key("sk-old"), 20)


def test_a_fault_changes_nothing_and_is_named_on_one_line(checkout: Checkout) -> None:
    faults = [
        ({"LOG_LEVEL": "loud"}, "LOG_LEVEL must be one of"),
        ({"MODEL_CONFIG": "{"}, "MODEL_CONFIG is not valid JSON"),
        ({"GUNICORN_THREADS": "many"}, "GUNICORN_THREADS must be a whole number"),
        ({"DRAIN_SECONDS": "500"}, "DRAIN_SECONDS (500) must be less than"),
        ({"ADMIN_API_KEY_FILE": "/no/such/file"}, "ADMIN_API_KEY_FILE names '/no/such/file'"),
        ({"SERVER_PORT": "1"}, "SERVER_HOST and SERVER_PORT cannot change without a restart"),
    ]
    old = checkout.program.workers()
    for number, (lines, fault) in enumerate(faults, 1):
        checkout.write_env(**{"DIFY_API_BASE": DIFY, "MODEL_CONFIG": MODELS, **lines})
        hang_up(checkout)
        assert await_refusal(checkout, number).startswith(fault)
    assert "Traceback" not in checkout.program.log
    assert checkout.program.workers() == old
    assert checkout.models() == ["first"]


def test_a_worker_that_dies_after_a_fault_is_replaced_with_the_settings_that_are_in_force(
    tmp_path: Path,
) -> None:
    with checked_out(tmp_path, AUTH_MODE="open", GUNICORN_WORKERS="2") as checkout:
        checkout.write_env(DIFY_API_BASE=DIFY, MODEL_CONFIG=MODELS)
        checkout.program.start()
        checkout.write_env(DIFY_API_BASE=DIFY, MODEL_CONFIG="{")
        hang_up(checkout)
        assert wait_until(lambda: REFUSED in checkout.program.log, 10)
        first, second = checkout.program.workers()

        first.kill()
        assert wait_until(lambda: len(checkout.program.workers()) == 2 and not first.is_running(), 10)
        second.kill()

        assert wait_until(lambda: len(checkout.program.workers()) == 2 and not second.is_running(), 10)
        assert checkout.models() == ["first"]

        checkout.write_env(DIFY_API_BASE=DIFY, MODEL_CONFIG='{"mended": "app-one"}')
        hang_up(checkout)
        assert wait_until(lambda: checkout.models() == ["mended"], 20)


def test_a_misspelt_setting_is_named_at_the_start_and_at_a_hup(tmp_path: Path) -> None:
    with checked_out(tmp_path, AUTH_MODE="open", GUNICORN_WORKERS="1") as checkout:
        checkout.write_env(DIFY_API_BASE=DIFY, MODEL_CONFIG=MODELS, GUNICORN_KEPALIVE="5")
        checkout.program.start()
        assert checkout.program.log.count("is no setting; did you mean GUNICORN_KEEPALIVE?") == 1

        checkout.write_env(DIFY_API_BASE=DIFY, MODEL_CONFIG=MODELS, DIFY_TRANSPROT="httpx")
        hang_up(checkout)

        assert wait_until(lambda: "did you mean DIFY_TRANSPORT?" in checkout.program.log, 20)


def test_a_broken_configuration_file_does_not_end_the_server(tmp_path: Path) -> None:
    with checked_out(tmp_path, AUTH_MODE="open", GUNICORN_WORKERS="1") as checkout:
        checkout.write_env(DIFY_API_BASE=DIFY, MODEL_CONFIG=MODELS)
        checkout.program.start()
        (checkout.folder / "gunicorn_config.py").write_text("this is no Python")

        hang_up(checkout)

        assert wait_until(lambda: f"{REFUSED}the lines above say why" in checkout.program.log, 10)
        assert checkout.models() == ["first"]
