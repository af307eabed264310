"""Several instances from one checkout and one home, behind the nginx configuration that we ship."""

import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from tests.fakes.frames import END, message
from tests.fakes.live_dify import LiveDify, Wire, live_dify, whole
from tests.fakes.waiting import wait_until
from tests.resilience.answers import until_stopped
from tests.resilience.nginx import NGINX, SITE, check, running_nginx, write_configuration
from tests.resilience.server import CHAT_PATH, BareClient, RunningServer, chat_shape, running_server

pytestmark = pytest.mark.skipif(NGINX is None, reason="nginx is not installed")


class Stand:
    """Two instances on one store, and nginx before them."""

    def __init__(self, dify: LiveDify, instances: list[RunningServer], port: int) -> None:
        self.dify = dify
        self.instances = instances
        self.port = port
        self.origin = f"http://127.0.0.1:{port}"

    def chat(self, *messages: dict[str, str], origin: str = "") -> httpx.Response:
        shape = {**chat_shape(streams=False), "messages": list(messages) or [said("user", "Hi")]}
        return httpx.post(f"{origin or self.origin}{CHAT_PATH}", json=shape, timeout=30)

    def lists_models(self) -> bool:
        return httpx.get(f"{self.origin}/v1/models", timeout=30).status_code == 200


def said(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


@pytest.fixture(scope="module")
def lasting_stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    folder = tmp_path_factory.mktemp("instances")
    folder.chmod(0o755)  # nginx leaves root's rights behind.
    (folder / "nginx").mkdir()
    told = {"DATA_DIR": str(folder / "data"), "GUNICORN_WORKERS": "1", "HOME": str(folder)}
    with ExitStack() as stack:
        dify = stack.enter_context(live_dify())
        instances = [stack.enter_context(running_server(dify, **told)) for _ in range(2)]
        ports = [each.port for each in instances]
        port = stack.enter_context(running_nginx(folder / "nginx", ports))
        yield Stand(dify, instances, port)


@pytest.fixture
def stand(lasting_stand: Stand) -> Iterator[Stand]:
    """Whole again after each test."""
    lasting_stand.dify.answer = whole
    lasting_stand.dify.asked.clear()
    yield lasting_stand
    for instance in lasting_stand.instances:
        if not instance.program.is_running:
            instance.program.start()


def test_nginx_accepts_the_file(tmp_path: Path) -> None:
    checked = check(write_configuration(tmp_path, SITE.read_text(encoding="utf-8")))

    assert "[warn]" not in checked.stderr
    assert checked.returncode == 0, checked.stderr


def test_a_conversation_goes_on_in_the_other_instance(stand: Stand) -> None:
    first, second = stand.instances
    begun = stand.chat(said("user", "Hello"), origin=first.origin)
    assert begun.headers["X-Dify-Conversation-Id"] == "conversation-1"

    transcript = [said("user", "Hello"), said("assistant", "Hello"), said("user", "And now?")]
    stand.chat(*transcript, origin=second.origin)

    assert stand.dify.runs[-1].body["conversation_id"] == "conversation-1"


def test_an_instance_that_is_killed_loses_nothing_that_cannot_have_begun(stand: Stand) -> None:
    assert all(stand.chat().status_code == 200 for _ in range(8))
    outcomes: list[bool] = []
    over = threading.Event()

    def ask_on() -> None:
        while not over.is_set():
            outcomes.append(stand.lists_models())

    asking = threading.Thread(target=ask_on)
    asking.start()
    try:
        assert wait_until(lambda: len(outcomes) > 20, 20)
        stand.instances[0].program.kill()
        chats = [stand.chat().status_code for _ in range(20)]
    finally:
        over.set()
        asking.join()

    assert chats == [200] * 20
    assert len(outcomes) > 20
    assert all(outcomes), "a request that may be repeated is, even if it was in flight"


def test_an_instance_that_is_stopped_loses_no_answer(stand: Stand) -> None:
    statuses: list[int] = []
    over = threading.Event()

    def chat_on() -> None:
        while not over.is_set():
            statuses.append(stand.chat().status_code)

    chatting = [threading.Thread(target=chat_on) for _ in range(3)]
    for each in chatting:
        each.start()
    try:
        assert wait_until(lambda: len(statuses) > 30, 30)
        stand.instances[0].program.signal(signal.SIGTERM)
        assert stand.instances[0].program.exit_code(20) == 0
        assert wait_until(lambda: len(statuses) > 60, 30)
    finally:
        over.set()
        for each in chatting:
            each.join()

    assert set(statuses) == {200}


def test_events_pass_one_by_one(stand: Stand) -> None:
    may_go_on = threading.Event()

    def waits_for_its_reader(wire: Wire) -> None:
        wire.head()
        wire.chunk(message("first "))
        may_go_on.wait(20)
        wire.chunk(message("second") + END)
        wire.end()

    stand.dify.answer = waits_for_its_reader
    with BareClient(stand.port) as client:
        client.ask()

        assert b"second" not in client.read_until(b"first ")
        may_go_on.set()

        assert b"second" in client.read_until(b"[DONE]")


def test_a_client_that_leaves_nginx_has_its_run_stopped(stand: Stand) -> None:
    stand.dify.answer = until_stopped(stand.dify)
    with BareClient(stand.port) as client:
        client.ask()
        client.read_until(b"la ")

        client.leave()

        assert wait_until(lambda: stand.dify.stops, 10)


def test_the_client_s_own_address_arrives(stand: Stand) -> None:
    assert httpx.get(f"{stand.origin}/v1/conversation/mappings", timeout=30).status_code == 403
    direct = stand.instances[0].origin
    assert httpx.get(f"{direct}/v1/conversation/mappings", timeout=30).status_code == 200
