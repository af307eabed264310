"""`GET /v1/dify/workflows/runs/{id}/events`: a stream that was dropped, taken up again."""

import json
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from opendify.app import create_app
from opendify.simulator import DEMO_MODELS, SimulatorOptions, create_simulator
from opendify.translate.run_ids import seal_run_id
from tests.conftest import Serve
from tests.fakes.mock_dify import MockDify, stream
from tests.fakes.openai_errors import assert_openai_error
from tests.fakes.served_app import served
from tests.fakes.settings import make_settings

ALICE = {"Authorization": "Bearer sk-of-alice-1"}
BOB = {"Authorization": "Bearer sk-of-bob-22"}
KEYS = {"AUTH_MODE": "keys", "API_KEYS": "alice:sk-of-alice-1,bob:sk-of-bob-22"}
URL = "/v1/dify/workflows/runs"
GRAPHS = ("demo-workflow", "demo-chatflow")


@pytest.fixture
def client(request: pytest.FixtureRequest) -> Iterator[FlaskClient]:
    version = getattr(request, "param", "1.16.1")
    options = SimulatorOptions(version=version, token_delay_seconds=0, naming_delay_seconds=0)
    transport = httpx.WSGITransport(create_simulator(options))
    app = create_app(make_settings(dict(DEMO_MODELS), **KEYS), transport=lambda: transport)
    yield app.test_client()
    app.extensions["opendify"].close()


def ask(client: FlaskClient, model: str, text: str = "Hello there") -> TestResponse:
    chat = {"model": model, "stream": True, "messages": [{"role": "user", "content": text}]}
    return client.post("/v1/chat/completions", json=chat, headers=ALICE)


def chunks(body: str) -> list[dict[str, object]]:
    frames = [line.removeprefix("data: ") for line in body.splitlines() if line.startswith("data: {")]
    return [json.loads(frame) for frame in frames]


def text_of(body: str) -> str:
    choices = [choice for chunk in chunks(body) for choice in chunk["choices"]]  # type: ignore[attr-defined]
    return "".join(choice["delta"].get("content") or "" for choice in choices)


@pytest.mark.parametrize("model", GRAPHS)
def test_an_answer_that_broke_off_is_had_after_all(client: FlaskClient, model: str) -> None:
    broken = ask(client, model, "EOF:6 Hello there")
    run_id = broken.headers["X-Dify-Workflow-Run-Id"]
    assert "[DONE]" not in broken.text

    again = client.get(f"{URL}/{run_id}/events?model={model}", headers=ALICE)

    assert again.mimetype == "text/event-stream"
    assert text_of(again.text) == "ECHO prior=0 images=0 :: EOF:6 Hello there"
    assert again.text.endswith("data: [DONE]\n\n")
    assert again.headers["X-Dify-Workflow-Run-Id"] == run_id
    first, *_, last = chunks(again.text)
    assert (first["object"], first["model"]) == ("chat.completion.chunk", model)
    assert last["choices"][0]["finish_reason"] == "stop"  # type: ignore[index]


@contextmanager
def talking(**options: str) -> Iterator[tuple[str, str]]:
    """The base URLs of the service and of a Dify whose models take their time."""
    slowly = SimulatorOptions(version="1.16.1", token_delay_seconds=0.02, naming_delay_seconds=0)
    with served(create_simulator(slowly)) as dify:
        where = {"api_base": f"{dify}/v1", **options}
        models = {name: {"api_key": key, **where} for name, key in DEMO_MODELS.items()}
        with served(create_app(make_settings(models, **KEYS))) as base:
            yield base, dify


@contextmanager
def half_heard(base: str, model: str) -> Iterator[tuple[str, Iterator[str]]]:
    """A stream of which some words have come: its run's id, and the lines that follow."""
    body = {"model": model, "stream": True, "messages": [{"role": "user", "content": "LONG:40"}]}
    with httpx.stream("POST", f"{base}/v1/chat/completions", json=body, headers=ALICE, timeout=60) as first:
        lines = first.iter_lines()
        next(line for line in lines if " w3" in line)
        yield first.headers["X-Dify-Workflow-Run-Id"], lines


@pytest.mark.parametrize("model", GRAPHS)
def test_a_run_that_still_goes_on_is_listened_to(model: str) -> None:
    """Two listen to one run: whoever comes later gets all of it too, and its usage where Dify tells it."""
    with talking() as (base, _), half_heard(base, model) as (run_id, lines):
        query = f"model={model}&include_usage=true"
        again = httpx.get(f"{base}{URL}/{run_id}/events?{query}", headers=ALICE, timeout=60)
        heard_first = text_of("\n".join(lines))

    assert text_of(again.text).endswith(heard_first)
    assert len(text_of(again.text)) > len(heard_first), "what was said before is told again"
    *_, last = chunks(again.text)
    assert last["usage"]
    assert "event: ping" not in again.text


def test_a_run_whose_client_left_goes_on_if_its_model_says_so() -> None:
    with talking(on_disconnect="continue") as (base, dify):
        with half_heard(base, "demo-workflow") as (run_id, _):
            pass
        again = httpx.get(f"{base}{URL}/{run_id}/events?model=demo-workflow", headers=ALICE, timeout=60)
        stops = httpx.get(f"{dify}/_simulator/counts").json()["stops"]

    assert (again.status_code, stops) == (200, 0)
    assert text_of(again.text).endswith(" w38 w39")


def test_it_is_nobody_else_s(client: FlaskClient) -> None:
    sealed = ask(client, "demo-workflow").headers["X-Dify-Workflow-Run-Id"]
    bare = sealed.partition(".")[0]

    for path, headers in (
        (f"{sealed}/events?model=demo-workflow", BOB),
        (f"{sealed}/events?model=demo-workflow&user=somebody", ALICE),
        (f"{sealed}/events?model=demo-chatflow", ALICE),
        (f"{bare}/events?model=demo-workflow", ALICE),
        (f"{bare}.AAAAAAAAAAAAAAAAAAAA/events?model=demo-workflow", ALICE),
    ):
        assert_openai_error(client.get(f"{URL}/{path}", headers=headers), 404, "workflow_run_not_found")


@pytest.mark.parametrize("client", ["0.15.3", "1.12.1", "1.13.3"], indirect=True)
def test_a_dify_that_cannot_do_it_is_named(client: FlaskClient) -> None:
    sealed = ask(client, "demo-workflow").headers["X-Dify-Workflow-Run-Id"]

    answer = client.get(f"{URL}/{sealed}/events?model=demo-workflow", headers=ALICE)

    assert_openai_error(answer, 400, "unsupported_value")
    assert "from Dify 1.14 on" in answer.text


def test_a_run_that_dify_has_forgotten_is_not_found(client: FlaskClient) -> None:
    key = DEMO_MODELS["demo-workflow"]
    assert isinstance(key, str)
    sealed = seal_run_id("5f2b9a51-0d3c-4b8e-9d56-0f2d4f3a1c77", app_key=key, user="alice")

    answer = client.get(f"{URL}/{sealed}/events?model=demo-workflow", headers=ALICE)

    assert_openai_error(answer, 404, "workflow_run_not_found")


def test_a_run_that_waits_for_a_person_says_so(client: FlaskClient) -> None:
    sealed = ask(client, "demo-workflow", "PAUSE").headers["X-Dify-Workflow-Run-Id"]

    answer = client.get(f"{URL}/{sealed}/events?model=demo-workflow", headers=ALICE)

    assert "human input" in assert_openai_error(answer, 502, "upstream_app_error")


def test_a_failed_run_fails_again(client: FlaskClient) -> None:
    sealed = ask(client, "demo-workflow", "FAILMID").headers["X-Dify-Workflow-Run-Id"]

    answer = client.get(f"{URL}/{sealed}/events?model=demo-workflow", headers=ALICE)

    assert_openai_error(answer, 502, "upstream_run_failed")


def test_a_user_s_own_runs_are_asked_for_as_that_user(serve: Serve, dify: MockDify) -> None:
    sealed = seal_run_id("r-1", app_key="app-bot", user="#anonymous:anna")
    row = {"event": "workflow_finished", "data": {"status": "succeeded", "outputs": {"text": "Hi"}}}
    dify.answers["other"] = lambda _: stream(f"data: {json.dumps(row)}\n\n".encode())
    client = serve({"bot": {"api_key": "app-bot", "mode": "workflow"}})

    answer = client.get(f"{URL}/{sealed}/events?model=bot&user=anna")

    assert text_of(answer.text) == "Hi"
    (asked,) = dify.asked("other")
    assert asked.url.path == "/v1/workflow/r-1/events"
    assert dict(asked.url.params) == {"user": "#anonymous:anna", "include_state_snapshot": "true"}
