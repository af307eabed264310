"""`GET /v1/dify/workflows/runs/{id}`: what became of a run, for the one who began it."""

from collections.abc import Iterator

import httpx
import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from opendify.app import create_app
from opendify.simulator import DEMO_MODELS, SimulatorOptions, create_simulator
from opendify.translate.run_ids import seal_run_id
from tests.conftest import Serve
from tests.fakes.mock_dify import MockDify
from tests.fakes.openai_errors import assert_openai_error
from tests.fakes.settings import make_settings

ALICE = {"Authorization": "Bearer sk-of-alice-1"}
BOB = {"Authorization": "Bearer sk-of-bob-22"}
URL = "/v1/dify/workflows/runs"


@pytest.fixture(params=["0.15.3", "1.12.1", "1.16.1"])
def client(request: pytest.FixtureRequest) -> Iterator[FlaskClient]:
    options = SimulatorOptions(version=request.param, token_delay_seconds=0, naming_delay_seconds=0)
    transport = httpx.WSGITransport(create_simulator(options))
    keys = {"AUTH_MODE": "keys", "API_KEYS": "alice:sk-of-alice-1,bob:sk-of-bob-22"}
    app = create_app(make_settings(dict(DEMO_MODELS), **keys), transport=lambda: transport)
    yield app.test_client()
    app.extensions["opendify"].close()


def ask(client: FlaskClient, *, streams: bool = False, model: str = "demo-workflow") -> TestResponse:
    chat = {"model": model, "stream": streams, "messages": [{"role": "user", "content": "Hello there"}]}
    return client.post("/v1/chat/completions", json=chat, headers=ALICE)


@pytest.mark.parametrize("streams", [True, False])
def test_a_run_is_found_by_the_id_in_the_header(client: FlaskClient, streams: bool) -> None:
    answer = ask(client, streams=streams)
    run_id = answer.headers["X-Dify-Workflow-Run-Id"]
    assert answer.data

    run = client.get(f"{URL}/{run_id}?model=demo-workflow", headers=ALICE).get_json()

    assert (run["id"], run["status"], run["error"]) == (run_id, "succeeded", None)
    assert run["outputs"] == {"text": "ECHO prior=0 images=0 :: Hello there"}
    assert isinstance(run["created_at"], int)
    assert run["total_tokens"] > 0
    assert "inputs" not in run


def test_it_is_nobody_else_s(client: FlaskClient) -> None:
    sealed = ask(client).headers["X-Dify-Workflow-Run-Id"]
    bare = sealed.partition(".")[0]

    for path, headers in (
        (f"{sealed}?model=demo-workflow", BOB),
        (f"{sealed}?model=demo-workflow&user=somebody", ALICE),
        (f"{sealed}?model=demo-chatflow", ALICE),
        (f"{bare}?model=demo-workflow", ALICE),
        (f"{bare}.AAAAAAAAAAAAAAAAAAAA?model=demo-workflow", ALICE),
    ):
        answer = client.get(f"{URL}/{path}", headers=headers)
        assert_openai_error(answer, 404, "workflow_run_not_found")


def test_a_model_is_needed(client: FlaskClient) -> None:
    assert_openai_error(
        client.get(f"{URL}/x", headers=ALICE), 400, "missing_required_parameter", param="model"
    )


def test_apps_without_runs_name_none(client: FlaskClient) -> None:
    assert "X-Dify-Workflow-Run-Id" not in ask(client, model="demo-chat").headers


def test_a_run_that_dify_has_forgotten_is_not_found(serve: Serve, dify: MockDify) -> None:
    sealed = seal_run_id("r-1", app_key="app-bot", user="#anonymous:anna")
    dify.answers["other"] = lambda _: httpx.Response(200, json={"id": None, "status": None})

    answer = serve().get(f"{URL}/{sealed}?model=bot&user=anna")

    assert_openai_error(answer, 404, "workflow_run_not_found")
    assert dify.asked("other"), "the id was good; it was Dify who did not know the run"


def test_a_run_of_a_fallback_is_found_under_the_model_asked_for(serve: Serve, dify: MockDify) -> None:
    sealed = seal_run_id("r-1", app_key="app-other", user="#anonymous:anna")
    dify.answers["other"] = lambda _: httpx.Response(200, json={"id": "r-1", "status": "succeeded"})
    client = serve({"bot": {"api_key": "app-bot", "fallbacks": ["other"]}, "other": "app-other"})

    assert client.get(f"{URL}/{sealed}?model=bot&user=anna").get_json()["status"] == "succeeded"
    (asked,) = dify.asked("other")
    assert asked.headers["Authorization"] == "Bearer app-other"
