"""Places at Dify: counted over all workers of an instance, given back however a worker ends."""

import json
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import httpx
import pytest
from flask.testing import FlaskClient

from opendify.dify.concurrency import Concurrency, Limit, PlaceFile, instance_file
from opendify.errors import ClientLeft, RateLimited
from opendify.records import NOBODY, Client
from opendify.settings import DifyApp, Settings
from tests.conftest import Serve
from tests.fakes.frames import END, WHOLE, event, message
from tests.fakes.mock_dify import MockDify, refusal, stream
from tests.fakes.openai_errors import assert_openai_error
from tests.fakes.programs import PROJECT
from tests.fakes.settings import make_settings
from tests.fakes.waiting import wait_until
from tests.resilience.server import CHAT_PATH, chat_shape

TWO = Limit("two", 2)


@pytest.fixture
def file() -> Iterator[PlaceFile]:
    with tempfile.TemporaryFile() as opened:
        yield PlaceFile(opened.fileno())


_CHILD = """
import signal, sys
from opendify.dify.concurrency import Limit, PlaceFile
file, limit = PlaceFile(int(sys.argv[1])), Limit(sys.argv[2], int(sys.argv[3]))
print([bool(file.take((limit,))) for _ in range(int(sys.argv[4]))], flush=True)
signal.pause()
"""


@contextmanager
def another_process(file: PlaceFile, limit: Limit, *, takes: int) -> Iterator[Callable[[], None]]:
    """Another worker of the instance, which holds so many places until it is killed; how to do that."""
    arguments = (file._descriptor, limit.name, limit.most, takes)
    command = [sys.executable, "-c", _CHILD, *map(str, arguments)]
    with subprocess.Popen(
        command, pass_fds=[file._descriptor], stdout=subprocess.PIPE, text=True, cwd=PROJECT
    ) as child:
        assert child.stdout
        assert child.stdout.readline() == f"{[True] * takes}\n"

        def kill() -> None:
            child.kill()
            child.wait()

        try:
            yield kill
        finally:
            kill()


def test_there_are_as_many_places_as_the_limit_says(file: PlaceFile) -> None:
    first, second = file.take((TWO,)), file.take((TWO,))
    assert first
    assert second
    assert file.take((TWO,)) is None

    file.give_back(first)
    file.give_back(first)

    assert file.take((TWO,))
    assert file.take((TWO,)) is None, "given back twice, it is still one place"


def test_a_place_of_each_limit_is_taken_or_none(file: PlaceFile) -> None:
    one = Limit("one", 1)
    assert file.take((one,))

    assert file.take((TWO, one)) is None

    assert file.take((TWO,))
    assert file.take((TWO,))


def test_what_other_processes_hold_is_taken(file: PlaceFile) -> None:
    with another_process(file, TWO, takes=1):
        assert file.take((TWO,))
        assert file.take((TWO,)) is None


def test_a_process_that_is_killed_gives_back_its_places_and_no_others(file: PlaceFile) -> None:
    assert file.take((TWO,))
    with another_process(file, TWO, takes=1) as kill:
        assert file.take((TWO,)) is None

        kill()

        with another_process(file, TWO, takes=1):
            assert file.take((TWO,)) is None


def test_workers_that_were_told_other_limits_count_the_same_places(file: PlaceFile) -> None:
    with another_process(file, Limit("app", 2), takes=2):
        taken = 0
        while file.take((Limit("app", 5),)):
            taken += 1

    assert taken == 3


def test_this_instance_has_one_file() -> None:
    assert instance_file() is instance_file()


def limited(file: PlaceFile, models: dict[str, object], **environ: str) -> tuple[Concurrency, Settings]:
    settings = make_settings(models, **{"QUEUE_SECONDS": "0", **environ})
    return Concurrency(settings, file=lambda: file), settings


def model(settings: Settings, name: str) -> DifyApp:
    found = settings.find_model(name)
    assert found
    return found


def test_without_a_limit_no_file_is_asked_for() -> None:
    def open_file() -> PlaceFile:
        raise AssertionError

    settings = make_settings()
    concurrency = Concurrency(settings, file=open_file)

    concurrency.take(model(settings, "bot"), NOBODY).give_back()


def test_an_app_s_limit_holds_for_all_models_that_name_it_and_for_no_other(file: PlaceFile) -> None:
    table: dict[str, object] = {
        "bot": {"api_key": "app-bot", "max_concurrency": 1},
        "same": {"api_key": "app-bot", "max_concurrency": 1},
        "other": {"api_key": "app-other", "max_concurrency": 1},
    }
    concurrency, settings = limited(file, table)
    place = concurrency.take(model(settings, "bot"), NOBODY)

    with pytest.raises(RateLimited, match="'same'"):
        concurrency.take(model(settings, "same"), NOBODY)

    concurrency.take(model(settings, "other"), NOBODY)
    place.give_back()
    concurrency.take(model(settings, "same"), NOBODY)


def test_a_server_s_limit_holds_for_all_its_apps_and_for_no_other_server(file: PlaceFile) -> None:
    table: dict[str, object] = {
        "bot": "app-bot",
        "writer": "app-writer",
        "far": {"api_key": "app-bot", "api_base": "http://far.test/v1"},
    }
    concurrency, settings = limited(file, table, DIFY_MAX_CONCURRENCY="1")
    concurrency.take(model(settings, "bot"), NOBODY)

    with pytest.raises(RateLimited):
        concurrency.take(model(settings, "writer"), NOBODY)

    concurrency.take(model(settings, "far"), NOBODY)


def test_who_waits_gets_the_place_that_another_process_gives_back(file: PlaceFile) -> None:
    concurrency, settings = limited(
        file, {"bot": {"api_key": "app-bot", "max_concurrency": 1}}, QUEUE_SECONDS="20"
    )
    bot = model(settings, "bot")
    with another_process(file, Limit(f"app {bot.fingerprint}", 1), takes=1) as kill:
        thread = threading.Thread(target=concurrency.take, args=(bot, NOBODY))
        thread.start()
        assert wait_until(lambda: len(concurrency._lines["bot"]) == 1)

        kill()

        thread.join(10)
        assert not thread.is_alive()


def test_a_client_that_leaves_waits_no_longer(file: PlaceFile) -> None:
    concurrency, settings = limited(
        file, {"bot": {"api_key": "app-bot", "max_concurrency": 1}}, QUEUE_SECONDS="20"
    )
    concurrency.take(model(settings, "bot"), NOBODY)

    with pytest.raises(ClientLeft):
        concurrency.take(model(settings, "bot"), Client(lambda: True))


@pytest.fixture
def client(serve: Serve) -> FlaskClient:
    """A client of an app that gets one run at a time."""
    return serve({"bot": {"api_key": "app-one-at-a-time", "max_concurrency": 1}}, QUEUE_SECONDS="0")


def ask(client: FlaskClient, *, streams: bool = False) -> int:
    answer = client.post(CHAT_PATH, json=chat_shape(streams=streams))
    assert answer.data
    answer.close()
    return answer.status_code


def test_beyond_the_limit_a_request_is_answered_429_and_dify_hears_nothing_of_it(
    dify: MockDify, client: FlaskClient
) -> None:
    begun, finish = threading.Event(), threading.Event()

    def slow(request: httpx.Request) -> httpx.Response:
        begun.set()
        finish.wait(20)
        return stream()

    dify.answers["run"] = slow
    thread = threading.Thread(target=ask, args=(client,))
    thread.start()
    assert begun.wait(20)

    refused = client.post(CHAT_PATH, json=chat_shape(streams=False))

    assert_openai_error(refused, 429, "rate_limit_exceeded")
    assert refused.headers["Retry-After"]
    assert "Connection" not in refused.headers, "another process would refuse it too"
    finish.set()
    thread.join()
    assert len(dify.asked("run")) == 1
    assert wait_until(lambda: ask(client) == 200)


@pytest.mark.parametrize("streams", [True, False])
def test_a_run_gives_its_place_back_however_it_ends(
    dify: MockDify, client: FlaskClient, streams: bool
) -> None:
    def unreachable(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    def a_bug(request: httpx.Request) -> httpx.Response:
        raise KeyError

    endings: list[Callable[[httpx.Request], httpx.Response]] = [
        lambda _: refusal(500, "internal_server_error"),
        lambda _: refusal(400, "invalid_param"),
        lambda _: refusal(404, "not_found"),
        lambda _: stream(b""),
        lambda _: stream(message("Hel")),
        lambda _: stream(b"data: nonsense\n\n"),
        lambda _: stream(message("Hel") + END),
        unreachable,
        a_bug,
    ]
    for ending in endings:
        dify.answers["run"] = ending
        ask(client, streams=streams)
        dify.answers["run"] = lambda _: stream()
        assert wait_until(lambda: ask(client) == 200, 5), ending


def test_a_run_that_could_not_be_prepared_gives_its_place_back(dify: MockDify, client: FlaskClient) -> None:
    dify.answers["upload"] = lambda _: refusal(413, "file_too_large")
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}

    refused = client.post(
        CHAT_PATH, json={"model": "bot", "messages": [{"role": "user", "content": [image]}]}
    )

    assert refused.status_code == 413
    assert ask(client) == 200


def test_a_stream_that_is_left_gives_its_place_back_when_dify_has_stopped(
    dify: MockDify, client: FlaskClient
) -> None:
    left = client.post(CHAT_PATH, json=chat_shape())
    assert left.status_code == 200

    left.close()

    assert wait_until(lambda: ask(client) == 200, 5)


def test_a_run_that_is_begun_anew_needs_no_second_place(dify: MockDify, client: FlaskClient) -> None:
    old_may_end = threading.Event()

    def old_run() -> Iterator[bytes]:
        yield event("message", answer="no", conversation_id="another")
        old_may_end.wait(20)
        yield END

    def answer(request: httpx.Request) -> httpx.Response:
        goes_on = json.loads(request.content).get("conversation_id")
        return stream(old_run() if goes_on else WHOLE)

    dify.answers["run"] = answer
    first = client.post(CHAT_PATH, json=chat_shape(streams=False)).get_json()
    said = first["choices"][0]["message"]
    messages = [{"role": "user", "content": "Hi"}, said, {"role": "user", "content": "More"}]

    answered = client.post(CHAT_PATH, json={"model": "bot", "messages": messages})

    assert (answered.status_code, len(dify.asked("run"))) == (200, 3)
    old_may_end.set()
    assert wait_until(lambda: ask(client) == 200, 10)
